"""The demo's catalogue stays neither trivial nor impossible.

Only the photos that are indexed or searched for are made: each photo depends on its own seeds alone, so
they are byte for byte those of the whole catalogue of 6,000.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from embedder.backends.onnx import OnnxEncoder
from embedder.export import export_backbone_bundle
from embedder.model.backbone import BackboneSpec
from embedder.preprocess import preprocess
from lookalike.catalogue.catalog import CatalogItem
from lookalike.cli.demo.command import DEMO_PRODUCTS, DEMO_SEED, DEMO_VIEWS
from lookalike.synth.catalogue import _Job, _plan, _run

Vectors = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[CatalogItem]:
    folder = tmp_path_factory.mktemp("demo")
    (folder / "images").mkdir()
    searched = [task for task in _plan(DEMO_PRODUCTS, DEMO_SEED) if task.split != "train"]
    workers = len(os.sched_getaffinity(0))
    return [
        item for made in _run(searched, _Job(folder, DEMO_VIEWS, DEMO_SEED, 224), workers) for item in made
    ]


def backbone_vectors(paths: list[Path], folder: Path) -> Vectors:
    """Global average of the last feature map of EfficientNet-Lite0, (n, 1280), unit norm."""
    bundle = export_backbone_bundle(BackboneSpec(), folder / "backbone")
    encoder = OnnxEncoder(bundle)
    batches = [paths[start : start + 16] for start in range(0, len(paths), 16)]
    prepared = (
        np.stack([preprocess(path.read_bytes(), bundle.manifest.preprocess) for path in batch])
        for batch in batches
    )
    return np.concatenate([encoder.encode(pictures).embedding for pictures in prepared])


def histogram_vectors(paths: list[Path]) -> Vectors:
    """Root of a hue-saturation-value histogram of 8 x 4 x 4 cells, (n, 128), unit norm."""
    rows = []
    for path in paths:
        picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2HSV)
        counts = cv2.calcHist([picture], [0, 1, 2], None, [8, 4, 4], [0, 180, 0, 256, 0, 256])
        rows.append(np.sqrt(counts.ravel() / counts.sum()))
    return np.stack(rows)


def recall_at_1(vectors: Vectors, items: list[CatalogItem]) -> float:
    query = np.array(["query" in item.splits for item in items])
    product = np.array([item.product_id for item in items])
    nearest = (vectors[query] @ vectors[~query].T).argmax(axis=1)
    return float((product[~query][nearest] == product[query]).mean())


@pytest.mark.timeout(900)
def test_the_backbone_finds_some_products_and_colour_few(photos: list[CatalogItem], tmp_path: Path) -> None:
    index = [item for item in photos if "index" in item.splits]
    assert DEMO_PRODUCTS * DEMO_VIEWS >= 6000
    assert len(index) >= 2500
    assert len(photos) - len(index) >= 300
    paths = [item.image_path for item in photos]
    backbone = recall_at_1(backbone_vectors(paths, tmp_path), photos)
    colour = recall_at_1(histogram_vectors(paths), photos)
    print(f"recall at 1: backbone {backbone:.3f}, colour histogram {colour:.3f}")
    assert 0.3 <= backbone <= 0.7
    assert colour < backbone / 2
