"""Recall, work and time of the hash index on simulated catalogues; prints one table per data set.

    python benchmarks/hash_index.py [--products 500 16000] [--queries 300]

Each product has six views; `leaf` and `view` are the cosines of two items of one leaf and of one product,
and `decay` is the exponent of the spectrum (0: all dimensions alike, the hardest for codes).
Recall is of the exact top 10 besides the query's own item; `same` is the share of the query's product
among them that is found. Queries run one by one on one thread.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hasher.index import HashIndex

VIEWS = 6
DIM = 256
DATA_SETS: list[dict[str, Any]] = [
    {"leaves": 25, "leaf": 0.5, "view": 0.8, "decay": 0.0},
    {"leaves": 25, "leaf": 0.5, "view": 0.8, "decay": 0.5},
    {"leaves": 25, "leaf": 0.3, "view": 0.8, "decay": 0.3},
    {"leaves": 40, "leaf": 0.5, "view": 0.75, "decay": 0.3},
    {"leaves": 30, "leaf": 0.7, "view": 0.85, "decay": 0.7},
    {"leaves": 60, "leaf": 0.4, "view": 0.8, "decay": 0.5},
]
SETTINGS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("defaults", {}, {}),
    ("grown in batches", {"grow": 256}, {}),
    ("hyperplane", {"family": "hyperplane"}, {}),
    ("hyperplane, 12 tables", {"family": "hyperplane", "tables": 12}, {}),
    ("128 bits", {"bits": 128}, {}),
    ("512 bits", {"bits": 512}, {}),
    ("rerank 32", {}, {"rerank": 32}),
    ("64 probes", {}, {"probes": 64}),
]


def catalogue(
    products: int, leaves: int, leaf: float, view: float, decay: float
) -> tuple[NDArray[np.float32], NDArray[np.uint64]]:
    """Unit vectors `(products * VIEWS, DIM)` and the product of each."""
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, DIM + 1) ** -decay
    spectrum /= np.sqrt((spectrum**2).sum())

    def noise(n: int) -> NDArray[np.float64]:
        values: NDArray[np.float64] = np.multiply(rng.normal(size=(n, DIM)), spectrum)
        return values

    leaves = max(leaves, leaves * products // 500)
    centres = np.sqrt(leaf) * noise(leaves)[rng.integers(0, leaves, products)]
    centres += np.sqrt(view - leaf) * noise(products)
    vectors = np.repeat(centres, VIEWS, axis=0) + np.sqrt(1 - view) * noise(products * VIEWS)
    vectors = vectors @ np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.repeat(np.arange(products, dtype=np.uint64), VIEWS)


def build(
    vectors: NDArray[np.float32], products: NDArray[np.uint64], grow: int = 0, **options: Any
) -> tuple[HashIndex, float]:
    ids = np.arange(len(vectors), dtype=np.uint64)
    started = time.perf_counter()
    if not grow:
        index = HashIndex.build(vectors, ids, products, **options)
    else:
        index = HashIndex.build(vectors[:0], ids[:0], products[:0], **options)
        order = np.random.default_rng(3).permutation(len(vectors))
        for batch in np.array_split(order, -(-len(order) // grow)):
            index.add(vectors[batch], ids[batch], products[batch])
    return index, time.perf_counter() - started


def measure(
    index: HashIndex,
    vectors: NDArray[np.float32],
    products: NDArray[np.uint64],
    picked: NDArray[np.int64],
    **how: Any,
) -> str:
    exact = index.search(vectors[picked], 11, exact=True)[0].astype(np.int64)
    results = [index.search_detailed(vectors[i : i + 1], 11, **how) for i in picked]
    recalls, same = [], []
    for query, truth, result in zip(picked, exact, results, strict=True):
        truth = truth[truth != query][:10]
        hit = np.isin(truth, result.ids)
        recalls.append(hit.mean())
        of_product = hit[products[truth] == products[query]]
        same.append(of_product.mean() if of_product.size else 1.0)
    scanned = np.mean([r.codes_scanned[0] for r in results]) / len(vectors)
    micros = {s: np.median([r.seconds[s] for r in results]) * 1e6 for s in results[0].seconds}
    stages = " ".join(f"{s} {v:5.0f}" for s, v in micros.items())
    return f"{np.mean(recalls):8.4f} {np.mean(same):8.4f} {scanned:8.2%}   {stages}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", type=int, nargs="+", default=[500])
    parser.add_argument("--queries", type=int, default=300)
    arguments = parser.parse_args()
    for products in arguments.products:
        for data_set in DATA_SETS:
            vectors, product_of = catalogue(products, **data_set)
            picked = np.random.default_rng(1).choice(len(vectors), arguments.queries, replace=False)
            print(f"\n{len(vectors):,} items x {DIM}: {data_set}")
            print(f"{'setting':18}  build s   recall     same  scanned   median microseconds by stage")
            for name, build_options, search_options in SETTINGS:
                index, seconds = build(vectors, product_of, **build_options)
                line = measure(index, vectors, product_of, picked, **search_options)
                print(f"{name:18} {seconds:8.2f} {line}", flush=True)


if __name__ == "__main__":
    main()
