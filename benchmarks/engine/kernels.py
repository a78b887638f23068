"""Encoding and Hamming distances: the kernels alone, on one core."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.engine.curves import Options
from benchmarks.engine.engines import installed
from benchmarks.engine.processes import Child, State
from benchmarks.engine.report import table
from hasher import _native

__all__ = ["encode", "hamming"]

ENCODE_ROWS, ENCODE_DIM, ENCODE_BITS = 50_000, 256, 256
HAMMING_CODES, HAMMING_QUERIES, TOP = 1_100_000, 50, 10


def encode(options: Options) -> tuple[dict[str, Any], str]:
    """Vectors encoded per second, against NumPy's matrix product and packing of bits."""
    with Child({options.core}) as child:
        rates = child.call(measure_encode, rounds=max(3, options.rounds))
    rows = [[name, f"{rate:,.0f}"] for name, rate in rates.items()]
    ratio = rates["hasher._native.encode"] / rates["NumPy matmul + packbits"]
    text = f"## Encoding {ENCODE_DIM}-d vectors to {ENCODE_BITS} bits, one thread\n\n"
    text += table(["how", "vectors/s"], rows) + f"\nLookalike / NumPy: {ratio:.2f}\n"
    return {"vectors_per_second": rates}, text


def hamming(options: Options) -> tuple[dict[str, Any], str]:
    """Codes compared per second, with FAISS where it is installed."""
    figures: dict[str, Any] = {}
    rows = []
    for bits in (256, 512):
        with Child({options.core}) as child:
            rates = child.call(measure_hamming, bits=bits, rounds=max(3, options.rounds))
        figures[str(bits)] = rates
        rows += [[f"{name}, {bits} bits", f"{rate / 1e6:,.0f}"] for name, rate in rates.items()]
    text = f"## Hamming distances of one query to {HAMMING_CODES:,} codes, one thread\n\n"
    return {"codes_per_second": figures}, text + table(["how", "million codes/s"], rows)


def measure_encode(state: State, rounds: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((ENCODE_ROWS, ENCODE_DIM), dtype=np.float32)
    planes = rng.standard_normal((ENCODE_DIM, ENCODE_BITS), dtype=np.float32)
    ways: dict[str, Callable[[], object]] = {
        "hasher._native.encode": lambda: _native.encode(vectors, bits=ENCODE_BITS, seed=0),
        "NumPy matmul + packbits": lambda: np.packbits(vectors @ planes > 0, axis=1),
    }
    return _rates(ways, ENCODE_ROWS, rounds)


def measure_hamming(state: State, bits: int, rounds: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, (HAMMING_CODES, bits // 64), dtype=np.uint64)
    queries = rng.integers(0, 2**64, (HAMMING_QUERIES, bits // 64), dtype=np.uint64)

    def own_top() -> None:
        for query in queries:
            distances = _native.hamming_distances(query, codes)
            # A stable order of the few candidates would cost nothing beside the partition.
            np.argpartition(distances, TOP)[:TOP]

    ways: dict[str, Callable[[], object]] = {
        "Lookalike, all distances": lambda: [_native.hamming_distances(q, codes) for q in queries],
        f"Lookalike, then NumPy's top {TOP}": own_top,
    }
    if installed("faiss"):
        import faiss

        faiss.omp_set_num_threads(1)
        index = faiss.IndexBinaryFlat(bits)
        index.add(codes.view(np.uint8).reshape(len(codes), -1))
        as_bytes = queries.view(np.uint8).reshape(len(queries), -1)
        stored = faiss.vector_to_array(index.xb)
        distances = np.empty(HAMMING_CODES, np.int32)

        def faiss_all() -> None:
            for query in as_bytes:
                faiss.hammings(
                    faiss.swig_ptr(query),
                    faiss.swig_ptr(stored),
                    1,
                    HAMMING_CODES,
                    bits // 8,
                    faiss.swig_ptr(distances),
                )

        ways["FAISS hammings, all distances"] = faiss_all
        ways[f"FAISS IndexBinaryFlat, top {TOP}, a query at a time"] = lambda: [
            index.search(as_bytes[at : at + 1], TOP) for at in range(len(as_bytes))
        ]
        ways[f"FAISS IndexBinaryFlat, top {TOP}, all queries in one call"] = lambda: index.search(
            as_bytes, TOP
        )
    return _rates(ways, HAMMING_CODES * HAMMING_QUERIES, rounds)


def _rates(ways: dict[str, Callable[[], object]], work: int, rounds: int) -> dict[str, float]:
    """Work done per second by each way: the median of rounds in which they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            # The first round warms up.
            if number:
                seconds[name].append(time.perf_counter() - started)
    return {name: work / median(times) for name, times in seconds.items()}
