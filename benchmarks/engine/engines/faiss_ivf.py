"""FAISS inverted files with fast-scan codes and refinement inside the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.engines.base import Floats, Ids, Search, Settings

FILE = "index.faiss"


class FaissEngine:
    """Build settings: `factory`, an index factory string. Search settings: `nprobe` and `k_factor`."""

    loads_vectors = False

    def __init__(self) -> None:
        self.index: Any = None

    def build(self, vectors: Floats, settings: Settings, threads: int) -> None:
        faiss.omp_set_num_threads(threads)
        self.index = faiss.index_factory(vectors.shape[1], settings["factory"], faiss.METRIC_INNER_PRODUCT)
        self.index.train(vectors)
        self.index.add(vectors)

    def save(self, folder: Path) -> None:
        faiss.write_index(self.index, str(folder / FILE))

    def load(self, folder: Path, settings: Settings, vectors: Floats | None) -> None:
        faiss.omp_set_num_threads(1)
        self.index = faiss.read_index(str(folder / FILE))

    def searcher(self, settings: Settings, k: int, single: bool) -> Search:
        index = self.index
        faiss.extract_index_ivf(index).nprobe = settings["nprobe"]
        index.k_factor = settings["k_factor"]

        def call(queries: Floats) -> Ids:
            return index.search(queries, k)[1]  # type: ignore[no-any-return]

        return call

    def filtered_searcher(
        self, settings: Settings, k: int, percent: int, allowed: NDArray[np.bool_]
    ) -> Search:
        """As :meth:`searcher`, among the `(n,)` bool allowed rows; `exact` scans them instead."""
        # FAISS keeps pointers to all of these, so the call must hold them.
        held: tuple[Any, ...]
        if settings.get("exact"):
            index = self.index.refine_index
            selector = faiss.IDSelectorArray(np.flatnonzero(allowed).astype(np.int64))
            parameters = faiss.SearchParameters(sel=selector)
            held = (selector, parameters)
        else:
            index = self.index
            bitmap = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(bitmap)
            lists = faiss.SearchParametersIVF(nprobe=settings["nprobe"], sel=selector)
            parameters = faiss.IndexRefineSearchParameters(
                k_factor=settings["k_factor"], base_index_params=lists
            )
            held = (bitmap, selector, lists, parameters)

        def call(queries: Floats) -> Ids:
            return index.search(queries, k, params=held[-1])[1]  # type: ignore[no-any-return]

        return call

    def index_bytes(self) -> int | None:
        return None
