"""The simulated embedding catalogue: unit vectors of product images, queries and exact answers.

A shop's embeddings have structure that random vectors lack: a category tree, products with several
images each, and a spectrum in which few dimensions carry most of the variance. Every image is

    normalise(meta + 0.6 level2 + leaf + product + 0.75 noise) · R

with 16 metas, 64 level-2 categories and 1,000 leaves; each part is Gaussian with standard deviations
proportional to i^-0.75 over the dimensions, and R is one random rotation, so that no engine can read
the spectrum off the axes. Products choose a leaf by popularity (Zipf, exponent 0.7) and have 1 to 20
images (Zipf, exponent 1.7). Rows come in random order, as listings do. Queries are new images of
random products.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHUNK_ROWS", "Catalogue", "Spec", "exact_top", "load_or_generate"]

METAS, LEVEL2S, LEAVES = 16, 64, 1_000
LEVEL2_WEIGHT, NOISE_WEIGHT = 0.6, 0.75
LEAF_EXPONENT, IMAGES_EXPONENT, MAX_IMAGES = 0.7, 1.7, 20
SPECTRUM_EXPONENT = 0.75
TRUTH_K = 10
CHUNK_ROWS = 65_536

Floats = NDArray[np.float32]
Progress = Callable[[str], None]


DEFAULT_QUERIES = 2_000


@dataclass(frozen=True, slots=True)
class Spec:
    """What a catalogue is made from; equal specs give equal bytes on one machine."""

    dim: int
    items: int
    seed: int
    queries: int = DEFAULT_QUERIES

    @property
    def folder_name(self) -> str:
        # The number of queries shifts every later draw: the vectors, and indexes of them, differ too.
        queries = "" if self.queries == DEFAULT_QUERIES else f"-{self.queries}-queries"
        return f"cat-{self.dim}-{self.items}-seed{self.seed}{queries}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A catalogue whose large arrays are mapped from disk.

    Attributes:
        folder: Where it is stored.
        vectors: `(n, d)` float32, unit rows. The id of an item is its row.
        products: `(n,)` uint64, the product of each row.
        queries: `(q, d)` float32, unit rows.
        query_products: `(q,)` uint64.
        truth: `(q, 10)` int64, the rows of the largest inner products, best first.
    """

    folder: Path
    vectors: Floats
    products: NDArray[np.uint64]
    queries: Floats
    query_products: NDArray[np.uint64]
    truth: NDArray[np.int64]

    @property
    def name(self) -> str:
        return self.folder.name

    @classmethod
    def load(cls, folder: Path) -> Catalogue:
        def read(name: str, mmap: bool = False) -> NDArray[np.generic]:
            array: NDArray[np.generic] = np.load(folder / f"{name}.npy", mmap_mode="r" if mmap else None)
            return array

        return cls(
            folder,
            read("vectors", mmap=True),  # type: ignore[arg-type]
            read("products"),  # type: ignore[arg-type]
            read("queries"),  # type: ignore[arg-type]
            read("query_products"),  # type: ignore[arg-type]
            read("truth"),  # type: ignore[arg-type]
        )


def load_or_generate(spec: Spec, cache: Path, progress: Progress) -> Catalogue:
    """Returns the catalogue of `spec` from `cache`, generating it there the first time."""
    folder = cache / spec.folder_name
    about = {**asdict(spec), "format": 1}
    if (folder / "DONE").exists():
        if json.loads((folder / "about.json").read_text()) == about:
            return Catalogue.load(folder)
        progress(f"{folder.name}: made with other options, generating it again")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    generate(spec, folder, progress)
    (folder / "about.json").write_text(json.dumps(about))
    (folder / "DONE").touch()
    return Catalogue.load(folder)


def generate(spec: Spec, folder: Path, progress: Progress) -> None:
    """Writes every array of the catalogue into `folder`, a chunk of rows at a time."""
    rng = np.random.default_rng(spec.seed)
    spectrum = np.arange(1, spec.dim + 1) ** -SPECTRUM_EXPONENT
    spectrum = (spectrum / np.sqrt((spectrum**2).sum())).astype(np.float32)

    def part(rows: int) -> Floats:
        values: Floats = rng.standard_normal((rows, spec.dim), dtype=np.float32)
        values *= spectrum
        return values

    metas = part(METAS)
    level2s = metas[rng.integers(0, METAS, LEVEL2S)] + np.float32(LEVEL2_WEIGHT) * part(LEVEL2S)
    leaves = level2s[rng.integers(0, LEVEL2S, LEAVES)] + part(LEAVES)
    rotation = np.linalg.qr(rng.standard_normal((spec.dim, spec.dim)))[0].astype(np.float32)
    product_of = image_counts(spec.items, rng)
    leaf_of = rng.choice(LEAVES, product_of[-1] + 1, p=zipf(LEAVES, LEAF_EXPONENT)).astype(np.int32)
    product_of = rng.permutation(product_of)

    centres = np.empty((len(leaf_of), spec.dim), np.float32)
    for at in range(0, len(leaf_of), CHUNK_ROWS):
        chunk = leaf_of[at : at + CHUNK_ROWS]
        centres[at : at + CHUNK_ROWS] = leaves[chunk] + part(len(chunk))

    def images(products: NDArray[np.int64]) -> Floats:
        rows = (centres[products] + np.float32(NOISE_WEIGHT) * part(len(products))) @ rotation
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    query_products = rng.integers(0, len(leaf_of), spec.queries)
    queries = images(query_products)
    vectors = np.lib.format.open_memmap(
        folder / "vectors.npy", mode="w+", dtype=np.float32, shape=(spec.items, spec.dim)
    )
    for at in range(0, spec.items, CHUNK_ROWS):
        vectors[at : at + CHUNK_ROWS] = images(product_of[at : at + CHUNK_ROWS])
        progress(f"{folder.name}: {min(at + CHUNK_ROWS, spec.items):,} of {spec.items:,} vectors")
    vectors.flush()
    np.save(folder / "leaf.npy", leaf_of[product_of])
    np.save(folder / "products.npy", product_of.astype(np.uint64))
    np.save(folder / "queries.npy", queries)
    np.save(folder / "query_products.npy", query_products.astype(np.uint64))
    progress(f"{folder.name}: exact answers of {spec.queries:,} queries")
    np.save(folder / "truth.npy", exact_top(vectors, queries, TRUTH_K))


def zipf(count: int, exponent: float) -> NDArray[np.float64]:
    """Probabilities of the ranks 1 to `count`."""
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    weights /= weights.sum()
    return weights


def image_counts(items: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The product of each of `items` images, ascending: product 0's images, then product 1's, and so on."""
    chances = zipf(MAX_IMAGES, IMAGES_EXPONENT)
    counts = 1 + rng.choice(MAX_IMAGES, items, p=chances)
    return np.repeat(np.arange(items), counts)[:items]


def exact_top(
    vectors: Floats, queries: Floats, k: int, allowed: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """The rows of the `k` largest inner products of each query, best first: a blocked matrix product.

    Args:
        vectors: `(n, d)` float32, read a block at a time.
        queries: `(q, d)` float32.
        k: Rows per query, at most `n`.
        allowed: `(n,)`, the rows that may be returned; at least `k` of them.

    Returns:
        `(q, k)` int64.
    """
    best = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    for at in range(0, len(vectors), CHUNK_ROWS):
        scores = queries @ vectors[at : at + CHUNK_ROWS].T
        if allowed is not None:
            scores[:, ~allowed[at : at + CHUNK_ROWS]] = -np.inf
        for query, row in enumerate(scores):
            # After the first block few scores beat the k-th best, so comparing is cheaper than sorting.
            hits = np.flatnonzero(row > best[query, -1])
            if hits.size:
                merged = np.concatenate([best[query], row[hits]])
                order = np.argsort(-merged, kind="stable")[:k]
                best[query] = merged[order]
                rows[query] = np.concatenate([rows[query], hits + at])[order]
    return rows
