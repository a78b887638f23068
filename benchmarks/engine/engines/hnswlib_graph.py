"""hnswlib: the reference HNSW graph, over float32 vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hnswlib
import numpy as np

from benchmarks.engine.engines.base import Floats, Ids, Search, Settings

FILE = "index.hnsw"


class HnswlibEngine:
    """Build settings: `m` and `ef_construction`. Search settings: `ef`."""

    loads_vectors = False

    def __init__(self) -> None:
        self.index: Any = None

    def build(self, vectors: Floats, settings: Settings, threads: int) -> None:
        count, dim = vectors.shape
        self.index = hnswlib.Index(space="ip", dim=dim)
        self.index.init_index(
            max_elements=count, M=settings["m"], ef_construction=settings["ef_construction"], random_seed=0
        )
        self.index.add_items(vectors, np.arange(count), num_threads=threads)

    def save(self, folder: Path) -> None:
        (folder / "dim").write_text(str(self.index.dim))
        self.index.save_index(str(folder / FILE))

    def load(self, folder: Path, settings: Settings, vectors: Floats | None) -> None:
        self.index = hnswlib.Index(space="ip", dim=int((folder / "dim").read_text()))
        self.index.load_index(str(folder / FILE))
        self.index.set_num_threads(1)

    def searcher(self, settings: Settings, k: int, single: bool) -> Search:
        index = self.index
        index.set_ef(settings["ef"])

        def call(queries: Floats) -> Ids:
            return index.knn_query(queries, k, num_threads=1)[0]  # type: ignore[no-any-return]

        return call

    def index_bytes(self) -> int | None:
        return int(self.index.index_file_size())
