"""One module per library: how to build, store, load and search its index.

A measuring process imports only the module of the engine that it runs, so that no two libraries share
an OpenMP runtime or an allocator.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.engine.engines.base import Engine

__all__ = ["engine_version", "installed", "make_engine"]

# adapter -> (module of this package, class, module of the library, its distribution)
ADAPTERS = {
    "lookalike": ("lookalike", "LookalikeEngine", "lookalike._native", "lookalike"),
    "faiss": ("faiss_ivf", "FaissEngine", "faiss", "faiss-cpu"),
    "faiss-binary": ("faiss_binary", "FaissBinaryEngine", "faiss", "faiss-cpu"),
    "scann": ("scann_tree", "ScannEngine", "scann", "scann"),
    "hnswlib": ("hnswlib_graph", "HnswlibEngine", "hnswlib", "hnswlib"),
    "usearch": ("usearch_graph", "UsearchEngine", "usearch", "usearch"),
    "svs": ("svs_graph", "SvsEngine", "svs", "scalable-vs"),
}


def make_engine(adapter: str) -> Engine:
    """Imports the library behind `adapter` and returns an engine without an index."""
    module, name, _, _ = ADAPTERS[adapter]
    engine: Engine = getattr(import_module(f"{__name__}.{module}"), name)()
    return engine


def installed(adapter: str) -> bool:
    return find_spec(ADAPTERS[adapter][2]) is not None


def engine_version(adapter: str) -> str:
    """The version of the library; Lookalike's own also names the build of its extension."""
    _, _, module, distribution = ADAPTERS[adapter]
    try:
        found = version(distribution)
    except PackageNotFoundError:
        found = "0"
    if adapter == "lookalike":
        spec = find_spec(module)
        if spec and spec.origin:
            found += f"+{_fingerprint(Path(spec.origin))}"
    return found


def _fingerprint(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
