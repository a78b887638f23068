"""Lookalike through `HashIndex`, as anybody embedding the engine uses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.engines.base import Floats, Ids, Search, Settings, UnavailableError
from benchmarks.engine.selection import PERCENTS, matching
from hasher.filters import Attributes, Equals
from hasher.index import HashIndex
from lookalike.errors import NotSupportedError

# A fifth of the items is upserted in batches of this many, as a live catalogue does.
CHURN_BATCH = 1_000


class LookalikeEngine:
    """Search settings are those of `HashIndex.search`, and so are build settings but for two.

    `churn` is the share of items upserted after loading. `filters` adds one attribute per selectivity of
    the filtered search, whose value is "1" for the items that match.
    """

    loads_vectors = True

    def __init__(self) -> None:
        self.index: HashIndex

    def build(self, vectors: Floats, settings: Settings, threads: int) -> None:
        options = {name: value for name, value in settings.items() if name not in ("churn", "filters")}
        if settings.get("filters"):
            columns = {f"match{percent}": matching(len(vectors), percent) for percent in PERCENTS}
            values = {name: ["1" if match else None for match in column] for name, column in columns.items()}
            options["attributes"] = Attributes(values=values)
        ids = np.arange(len(vectors), dtype=np.uint64)
        try:
            self.index = HashIndex.build(np.asarray(vectors), ids, threads=threads, **options)
        except NotSupportedError as error:
            raise UnavailableError(str(error)) from None

    def save(self, folder: Path) -> None:
        self.index.save(folder)

    def load(self, folder: Path, settings: Settings, vectors: Floats | None) -> None:
        self.index = HashIndex.open(folder)
        churn = settings.get("churn", 0.0)
        if churn and vectors is not None:
            rng = np.random.default_rng(2)
            rows = rng.choice(len(vectors), int(churn * len(vectors)), replace=False)
            for batch in np.array_split(rows, max(1, len(rows) // CHURN_BATCH)):
                ids = batch.astype(np.uint64)
                self.index.add(np.ascontiguousarray(vectors[batch]), ids, ids)
            self.index.wait_for_rebuild()

    def searcher(self, settings: Settings, k: int, single: bool) -> Search:
        search = self.index.search

        def call(queries: Floats) -> Ids:
            return search(queries, k, threads=1, **settings)[0]

        return call

    def filtered_searcher(
        self, settings: Settings, k: int, percent: int, allowed: NDArray[np.bool_]
    ) -> Search:
        """As :meth:`searcher`, among the items whose attribute of `percent` is 1."""
        return self.searcher({**settings, "filter": Equals(f"match{percent}", "1")}, k, True)

    def index_bytes(self) -> int | None:
        return sum(value for name, value in self.index.stats().items() if name.endswith("_bytes"))  # type: ignore[misc]
