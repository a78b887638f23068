"""usearch: an HNSW graph over half-precision or 8-bit vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from usearch.index import Index

from benchmarks.engine.engines.base import Floats, Ids, Search, Settings

FILE = "index.usearch"


class UsearchEngine:
    """Build settings: `dtype`, `connectivity`, `expansion_add`. Search settings: `expansion`."""

    loads_vectors = False

    def __init__(self) -> None:
        self.index: Index

    def build(self, vectors: Floats, settings: Settings, threads: int) -> None:
        count, dim = vectors.shape
        self.index = Index(
            ndim=dim,
            metric="ip",
            dtype=settings["dtype"],
            connectivity=settings["connectivity"],
            expansion_add=settings["expansion_add"],
        )
        self.index.add(np.arange(count, dtype=np.uint64), vectors, threads=threads)

    def save(self, folder: Path) -> None:
        self.index.save(folder / FILE)

    def load(self, folder: Path, settings: Settings, vectors: Floats | None) -> None:
        index = Index.restore(folder / FILE)
        assert index is not None
        self.index = index

    def searcher(self, settings: Settings, k: int, single: bool) -> Search:
        index = self.index
        index.expansion_search = settings["expansion"]

        def call_one(queries: Floats) -> Ids:
            return index.search(queries[0], k, threads=1).keys  # type: ignore[no-any-return]

        def call_many(queries: Floats) -> Ids:
            return index.search(queries, k, threads=1).keys  # type: ignore[no-any-return]

        return call_one if single else call_many

    def index_bytes(self) -> int | None:
        return int(self.index.memory_usage)
