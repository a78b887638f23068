"""FAISS binary indexes over sign codes, reranked with the exact vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.engine.engines.base import Floats, Ids, Search, Settings

FILE, PLANES, VECTORS = "index.faiss", "planes.npy", "vectors.npy"


class FaissBinaryEngine:
    """Random hyperplanes, then `IndexBinaryFlat` or `IndexBinaryMultiHash`, then exact cosines.

    Build settings: `bits`, and for the multi-hash its `tables` and `key_bits`. Search settings: `rerank`,
    how many of the nearest codes are reranked, and for the multi-hash `nflip`. FAISS has no rerank from
    codes to vectors, so NumPy does it, a query at a time in a few tens of microseconds.
    """

    loads_vectors = False

    def __init__(self) -> None:
        self.index: Any = None
        self.planes: Floats
        self.vectors: Floats

    def build(self, vectors: Floats, settings: Settings, threads: int) -> None:
        faiss.omp_set_num_threads(threads)
        dim, bits = vectors.shape[1], settings["bits"]
        rng = np.random.default_rng(0)
        self.planes = rng.standard_normal((dim, bits), dtype=np.float32)
        if "tables" in settings:
            self.index = faiss.IndexBinaryMultiHash(bits, settings["tables"], settings["key_bits"])
        else:
            self.index = faiss.IndexBinaryFlat(bits)
        for at in range(0, len(vectors), 65_536):
            self.index.add(self._encode(vectors[at : at + 65_536]))
        self.vectors = vectors

    def save(self, folder: Path) -> None:
        faiss.write_index_binary(self.index, str(folder / FILE))
        np.save(folder / PLANES, self.planes)
        np.save(folder / VECTORS, self.vectors)

    def load(self, folder: Path, settings: Settings, vectors: Floats | None) -> None:
        faiss.omp_set_num_threads(1)
        self.index = faiss.read_index_binary(str(folder / FILE))
        self.planes = np.load(folder / PLANES)
        self.vectors = np.load(folder / VECTORS)

    def searcher(self, settings: Settings, k: int, single: bool) -> Search:
        if "nflip" in settings:
            self.index.nflip = settings["nflip"]
        rerank = settings["rerank"]

        def call(queries: Floats) -> Ids:
            found = self.index.search(self._encode(queries), rerank)[1]
            return np.stack([self._rerank(q, row, k) for q, row in zip(queries, found, strict=True)])

        return call

    def index_bytes(self) -> int | None:
        return None

    def _encode(self, vectors: Floats) -> Ids:
        return np.packbits(vectors @ self.planes > 0, axis=1)

    def _rerank(self, query: Floats, rows: Ids, k: int) -> Ids:
        rows = rows[rows >= 0]
        best = rows[np.argsort(-(self.vectors[rows] @ query))[:k]]
        return np.pad(best, (0, k - len(best)), constant_values=-1)
