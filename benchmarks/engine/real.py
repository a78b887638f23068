"""A catalogue of real feature vectors: photos, several augmented views of each, one backbone."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.engine.catalogue import TRUTH_K, Catalogue, Floats, Progress, exact_top

__all__ = ["load_or_make"]

QUERIES = 2_000
PHOTOS_PER_STEP = 400
SEED = 7


def load_or_make(photos: Path, bundle: Path, augment: int, cache: Path, progress: Progress) -> Catalogue:
    """Returns the catalogue of every photo that the `catalog.csv` files in `photos` name.

    Each photo gives itself and `augment` views (cropped, mirrored, recoloured), each of which is one
    item; 2,000 of the views are held out as queries. Features are kept in `cache` as they are made, so
    that an interrupted run goes on where it was.

    Raises:
        FileNotFoundError: There are no photos or there is no model bundle.
    """
    files, products = _photos(photos)
    if not files:
        raise FileNotFoundError(f"no catalog.csv with photos under {photos}")
    if not (bundle / "bundle.json").exists():
        raise FileNotFoundError(f"no model bundle in {bundle}; `python -m embedder.export default` makes it")
    version = json.loads((bundle / "bundle.json").read_text())["model_version"]
    names = " ".join(file.name for file in files)
    digest = hashlib.sha256(f"{version} {augment} {names}".encode()).hexdigest()[:8]
    folder = cache / f"real-{digest}"
    if not (folder / "DONE").exists():
        shutil.rmtree(folder, ignore_errors=True)
        vectors = _features(files, bundle, augment, cache / "features", progress)
        folder.mkdir(parents=True)
        _store(vectors, products, folder)
        (folder / "DONE").touch()
    return Catalogue.load(folder)


def _photos(root: Path) -> tuple[list[Path], list[int]]:
    """The photo files, and the number of each one's product."""
    files, products = [], []
    numbers: dict[tuple[str, str], int] = {}
    for catalog in sorted(root.glob("*/catalog.csv")):
        with catalog.open(newline="") as rows:
            for row in csv.DictReader(rows):
                files.append(catalog.parent / row["image_path"])
                products.append(numbers.setdefault((catalog.parent.name, row["product_id"]), len(numbers)))
    return files, products


def _features(files: Sequence[Path], bundle: Path, augment: int, cache: Path, progress: Progress) -> Floats:
    """Unit vectors `(augment + 1, photos, d)`."""
    # The encoder is needed for this section only.
    from embedder.backends.onnx import OnnxEncoder
    from embedder.bundle import load_bundle
    from embedder.training.features import FeatureExtractor

    loaded = load_bundle(bundle)
    extractor = FeatureExtractor(loaded, OnnxEncoder(loaded), cache, threads=1)
    parts = []
    for at in range(0, len(files), PHOTOS_PER_STEP):
        progress(f"features of photo {at:,} of {len(files):,}, {augment + 1} views each")
        features = extractor.extract(
            files[at : at + PHOTOS_PER_STEP], augment, "mild", SEED, lambda done, total: None
        )
        if features.problems:
            raise FileNotFoundError(f"{len(features.problems)} photos cannot be read")
        parts.append(features.values)
    return np.concatenate(parts, axis=1)


def _store(features: Floats, products: Sequence[int], folder: Path) -> None:
    views, photos, dim = features.shape
    rows = features.reshape(views * photos, dim)
    product_of = np.tile(np.array(products, np.uint64), views)
    rng = np.random.default_rng(SEED)
    # The photo itself stays in the index; only augmented views are queries.
    queries = photos + rng.choice(len(rows) - photos, min(QUERIES, len(rows) - photos), replace=False)
    items = rng.permutation(np.setdiff1d(np.arange(len(rows)), queries))
    np.save(folder / "vectors.npy", rows[items])
    np.save(folder / "products.npy", product_of[items])
    np.save(folder / "queries.npy", rows[queries])
    np.save(folder / "query_products.npy", product_of[queries])
    np.save(folder / "truth.npy", exact_top(rows[items], rows[queries], TRUTH_K))
