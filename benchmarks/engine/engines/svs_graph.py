"""Intel's Scalable Vector Search: a Vamana graph over LeanVec-compressed or half-precision vectors."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import svs

from benchmarks.engine.engines.base import Floats, Ids, Search, Settings, UnavailableError

KINDS = {"f16": svs.LeanVecKind.float16, "lvq8": svs.LeanVecKind.lvq8}
ALPHA = 0.95
FOLDERS = ("config", "graph", "data")


class SvsEngine:
    """Build settings: `data` (`leanvec` or `f16`), `degree`, `window`; for LeanVec `dims` and `secondary`.

    Search settings: `window` and `capacity` of the search buffer. The LeanVec kernels are closed and run
    on Intel processors only; the half-precision graph runs everywhere.
    """

    loads_vectors = False

    def __init__(self) -> None:
        self.index: Any = None

    def build(self, vectors: Floats, settings: Settings, threads: int) -> None:
        parameters = svs.VamanaBuildParameters(
            graph_max_degree=settings["degree"], window_size=settings["window"], alpha=ALPHA
        )
        if settings["data"] == "f16":
            self.index = svs.Vamana.build(
                parameters, vectors.astype(np.float16), svs.DistanceType.MIP, num_threads=threads
            )
            return
        if "GenuineIntel" not in Path("/proc/cpuinfo").read_text():
            # The library prints the same and ends the process.
            raise UnavailableError("SVS runs its LVQ and LeanVec kernels on Intel processors only")
        with tempfile.TemporaryDirectory() as scratch:
            # LeanVec is made from a file only.
            file = str(Path(scratch) / "vectors.fvecs")
            svs.write_vecs(np.asarray(vectors), file)
            loader = svs.VectorDataLoader(file, svs.DataType.float32, dims=vectors.shape[1])
            data = svs.LeanVecLoader(loader, settings["dims"], KINDS["lvq8"], KINDS[settings["secondary"]])
            self.index = svs.Vamana.build(parameters, data, svs.DistanceType.MIP, num_threads=threads)

    def save(self, folder: Path) -> None:
        self.index.save(*(str(folder / name) for name in FOLDERS))
        # Version 0.5.0 writes `alpha = .0`, which its own reader refuses. Searching does not use alpha.
        config = folder / "config" / "svs_config.toml"
        config.write_text(re.sub(r"alpha = .*", f"alpha = {ALPHA}", config.read_text()))

    def load(self, folder: Path, settings: Settings, vectors: Floats | None) -> None:
        config, graph, data = (str(folder / name) for name in FOLDERS)
        if settings["data"] == "f16":
            loader: Any = svs.VectorDataLoader(data, svs.DataType.float16)
        else:
            loader = svs.LeanVecLoader(data)
        self.index = svs.Vamana(config, svs.GraphLoader(graph), loader, svs.DistanceType.MIP, num_threads=1)

    def searcher(self, settings: Settings, k: int, single: bool) -> Search:
        index = self.index
        parameters = index.search_parameters
        parameters.buffer_config = svs.SearchBufferConfig(settings["window"], settings["capacity"])
        index.search_parameters = parameters

        def call(queries: Floats) -> Ids:
            return index.search(queries, k)[0]  # type: ignore[no-any-return]

        return call

    def index_bytes(self) -> int | None:
        return None
