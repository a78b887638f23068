"""ScaNN: a partitioning tree, anisotropic hashing and reordering."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scann import ReorderType
from scann.scann_ops.py import scann_ops_pybind

from benchmarks.engine.engines.base import Floats, Ids, Search, Settings


class ScannEngine:
    """Build settings: `leaves`, `reorder` (`float32`, `bfloat16` or `int8`), `soar`.

    Search settings: `leaves_to_search` and `reorder`, the number of reordered candidates. Two dimensions
    per block and a threshold of 0.2 are what its authors use in ann-benchmarks.
    """

    loads_vectors = False

    def __init__(self) -> None:
        self.searcher_: Any = None

    def build(self, vectors: Floats, settings: Settings, threads: int) -> None:
        reorder = {
            "float32": ReorderType.FLOAT32,
            "bfloat16": ReorderType.BFLOAT16,
            "int8": ReorderType.INT8,
        }
        builder = scann_ops_pybind.builder(vectors, 10, "dot_product").set_n_training_threads(threads)
        builder = builder.tree(
            num_leaves=settings["leaves"],
            num_leaves_to_search=max(1, settings["leaves"] // 50),
            training_sample_size=min(len(vectors), 250_000),
            soar_lambda=1.5 if settings.get("soar") else None,
        )
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2)
        self.searcher_ = builder.reorder(100, quantize=reorder[settings["reorder"]]).build()

    def save(self, folder: Path) -> None:
        self.searcher_.serialize(str(folder), relative_path=True)

    def load(self, folder: Path, settings: Settings, vectors: Floats | None) -> None:
        self.searcher_ = scann_ops_pybind.load_searcher(str(folder))

    def searcher(self, settings: Settings, k: int, single: bool) -> Search:
        options = {
            "final_num_neighbors": k,
            "leaves_to_search": settings["leaves_to_search"],
            "pre_reorder_num_neighbors": settings["reorder"],
        }
        one, many = self.searcher_.search, self.searcher_.search_batched

        def call_one(queries: Floats) -> Ids:
            return one(queries[0], **options)[0]  # type: ignore[no-any-return]

        def call_many(queries: Floats) -> Ids:
            return many(queries, **options)[0]  # type: ignore[no-any-return]

        return call_one if single else call_many

    def index_bytes(self) -> int | None:
        return None
