"""What a measuring child does: load an index, then time one search setting at a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.catalogue import Catalogue
from benchmarks.engine.contenders import Contender
from benchmarks.engine.engines import make_engine
from benchmarks.engine.engines.base import Ids, Search, Settings
from benchmarks.engine.machine import waited_seconds
from benchmarks.engine.memory import populate, resident_bytes
from benchmarks.engine.processes import State

__all__ = ["Mode", "load", "measure", "memory", "recall_of", "same_product_recall", "timed"]

Mode = Literal["single", "batch"]
K = 10
BATCH = 1_000
WARM_UP = 200


def load(state: State, contender: Contender, index_folder: Path, catalogue_folder: Path) -> None:
    """Loads the index that later calls search."""
    catalogue = Catalogue.load(catalogue_folder)
    engine = make_engine(contender.adapter)
    state["catalogue"], state["engine"], state["index_folder"] = catalogue, engine, index_folder
    state["before"] = resident_bytes(catalogue.folder)
    engine.load(index_folder, contender.build, catalogue.vectors if engine.loads_vectors else None)


def measure(state: State, settings: Settings, mode: Mode, queries: int | None = None) -> dict[str, Any]:
    """Searches every query, or the first `queries`, once; returns the time taken and both recalls.

    `waited` is the part of `seconds` in which another process had the core.
    """
    catalogue: Catalogue = state["catalogue"]
    search = state["engine"].searcher(settings, K, mode == "single")
    found, seconds, waited = timed(search, catalogue.queries[:queries], mode)
    return {
        "queries": len(found),
        "seconds": seconds,
        "waited": waited,
        "recall": recall_of(found, catalogue.truth[: len(found)]),
        "same_product": same_product_recall(found, catalogue),
    }


def timed(search: Search, queries: NDArray[np.float32], mode: Mode) -> tuple[Ids, float, float]:
    """All results `(q, k)`, the seconds of the calls, and how many of those were spent waiting for a core."""
    size = 1 if mode == "single" else BATCH
    batches = [queries[at : at + size] for at in range(0, len(queries), size)]
    # The engine measured before has filled the caches with its own index.
    for batch in batches[: max(1, WARM_UP // size)]:
        search(batch)
    waited, started = waited_seconds(), time.perf_counter()
    found = [search(batch) for batch in batches]
    seconds = time.perf_counter() - started
    waited = waited_seconds() - waited
    return np.concatenate([np.atleast_2d(rows) for rows in found]).astype(np.int64), seconds, waited


def memory(state: State) -> dict[str, Any]:
    """What the loaded index takes, as resident bytes with mapped pages touched and as the library says."""
    catalogue: Catalogue = state["catalogue"]
    populate(state["index_folder"])
    return {
        "resident_bytes": resident_bytes(catalogue.folder) - state["before"],
        "index_bytes": state["engine"].index_bytes(),
        "float32_bytes": catalogue.vectors.nbytes,
    }


def recall_of(found: Ids, truth: NDArray[np.int64]) -> float:
    """The share of the true neighbours `(q, k)` that are among the results `(q, k)` of their query."""
    return float((truth[:, :, None] == found[:, None, :]).any(axis=2).mean())


def same_product_recall(found: Ids, catalogue: Catalogue) -> float:
    """Found items of each query's product over those that could be found: its images, at most k.

    The mean is over the queries whose product has images in the catalogue.
    """
    wanted = catalogue.query_products[: len(found)].astype(np.int64)
    images = np.bincount(catalogue.products.astype(np.int64), minlength=wanted.max() + 1)[wanted]
    valid = (found >= 0) & (found < len(catalogue.products))
    right = catalogue.products[np.where(valid, found, 0)] == wanted[:, None].astype(np.uint64)
    has_any = images > 0
    shares = (right & valid).sum(axis=1)[has_any] / np.minimum(images[has_any], found.shape[1])
    return float(shares.mean())
