"""Encoding and the scan for the nearest codes: the kernels alone, on one core."""

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
from hasher.hamming import top_k
from lookalike import _native

__all__ = ["encode", "hamming"]

ENCODE_ROWS, ENCODE_DIM, ENCODE_BITS = 50_000, 256, 256
HAMMING_CODES, HAMMING_QUERIES, TOP = 1_000_000, 100, 10
SINGLE, BATCH = "a query at a time", f"{HAMMING_QUERIES} queries at once"


def encode(options: Options) -> tuple[dict[str, Any], str]:
    """Vectors encoded per second, against NumPy's matrix product and packing of bits."""
    with Child({options.core}) as child:
        rates = child.call(measure_encode, rounds=max(3, options.rounds))
    rows = [[name, f"{rate:,.0f}"] for name, rate in rates.items()]
    ratio = rates["lookalike._native.encode"] / rates["NumPy matmul + packbits"]
    text = f"## Encoding {ENCODE_DIM}-d vectors to {ENCODE_BITS} bits, one thread\n\n"
    text += table(["how", "vectors/s"], rows) + f"\nLookalike / NumPy: {ratio:.2f}\n"
    return {"vectors_per_second": rates}, text


def hamming(options: Options) -> tuple[dict[str, Any], str]:
    """Codes compared per second while searching the nearest, with FAISS where it is installed."""
    figures: dict[str, Any] = {}
    rows, ratios = [], ""
    for bits in (256, 512):
        with Child({options.core}) as child:
            rates = child.call(measure_hamming, bits=bits, rounds=max(9, options.rounds))
        figures[str(bits)] = rates
        rows += [[f"{name}, {bits} bits", f"{rate / 1e6:,.0f}"] for name, rate in rates.items()]
        for how in (SINGLE, BATCH):
            if f"FAISS {how}" in rates:
                ratio = rates[f"Lookalike {how}"] / rates[f"FAISS {how}"]
                ratios += f"\nLookalike / FAISS, {bits} bits, {how}: {ratio:.2f}\n"
    text = f"## The nearest {TOP} of {HAMMING_CODES:,} codes by Hamming distance, one thread\n\n"
    return {"codes_per_second": figures}, text + table(["how", "million codes/s"], rows) + ratios


def measure_encode(state: State, rounds: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((ENCODE_ROWS, ENCODE_DIM), dtype=np.float32)
    planes = rng.standard_normal((ENCODE_DIM, ENCODE_BITS), dtype=np.float32)
    ways: dict[str, Callable[[], object]] = {
        "lookalike._native.encode": lambda: _native.encode(vectors, bits=ENCODE_BITS, seed=0),
        "NumPy matmul + packbits": lambda: np.packbits(vectors @ planes > 0, axis=1),
    }
    return _rates(ways, ENCODE_ROWS, rounds)


def measure_hamming(state: State, bits: int, rounds: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, (HAMMING_CODES, bits // 64), dtype=np.uint64)
    queries = rng.integers(0, 2**64, (HAMMING_QUERIES, bits // 64), dtype=np.uint64)
    ways: dict[str, Callable[[], object]] = {
        f"Lookalike {SINGLE}": lambda: [
            top_k(queries[at : at + 1], codes, TOP) for at in range(len(queries))
        ],
        f"Lookalike {BATCH}": lambda: top_k(queries, codes, TOP),
    }
    if installed("faiss"):
        import faiss

        faiss.omp_set_num_threads(1)
        index = faiss.IndexBinaryFlat(bits)
        index.add(codes.view(np.uint8))
        as_bytes = queries.view(np.uint8)
        ways[f"FAISS {SINGLE}"] = lambda: [
            index.search(as_bytes[at : at + 1], TOP) for at in range(len(as_bytes))
        ]
        ways[f"FAISS {BATCH}"] = lambda: index.search(as_bytes, TOP)
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
