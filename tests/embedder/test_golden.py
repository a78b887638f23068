"""Golden images: what a bundle keeps of them, and what readiness makes of them."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle, load_bundle, write_bundle
from embedder.config import EmbedderSettings
from embedder.golden import GoldenImages, cosine_distance, golden_photos
from embedder.pipeline import EmbeddedPhoto, Photo
from embedder.preprocess import PreprocessParams
from embedder.served_model import ServedModel
from embedder.training.features import FeatureExtractor
from lookalike.errors import FailedPreconditionError, InvalidInputError, Reason, UnavailableError
from lookalike.runtime.metrics import Metrics

IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


def rewritten(bundle: Bundle, out: Path, **changes: Any) -> Bundle:
    """The same network and golden images with other parts."""
    parts = {
        "dim": bundle.dim,
        "taxonomy": bundle.taxonomy,
        "preprocess": bundle.preprocess,
        "provenance": {},
        "metrics": {},
        "golden": bundle.golden(),
        **changes,
    }
    return write_bundle(out, bundle.network_path, **parts)


def served(folder: Path, **settings: Any) -> ServedModel:
    chosen = EmbedderSettings(bundle=folder, threads=1, preprocess_workers=1, **settings)
    return ServedModel(chosen, Metrics())


async def embeddings(model: ServedModel) -> np.ndarray:
    done = await model.pipeline().embed([Photo(photo) for photo in golden_photos()])
    return np.stack([out.vector for out in done.outcomes if isinstance(out, EmbeddedPhoto)])


def test_the_photos_take_every_way_through_the_decoder() -> None:
    sizes = {}
    for number, photo in enumerate(golden_photos()):
        image = Image.open(io.BytesIO(photo))
        sizes[number] = (image.format, image.size, image.getexif().get(0x0112, 1))
    assert {kind for kind, _, _ in sizes.values()} == {"JPEG", "WEBP"}
    assert any(max(size) >= 4 * PreprocessParams().size for _, size, _ in sizes.values())
    assert any(orientation == 8 for *_, orientation in sizes.values())


def test_what_is_saved_is_read_back(tiny_bundle: Path, tmp_path: Path) -> None:
    golden = load_bundle(tiny_bundle).golden()
    assert golden is not None
    assert golden.photos == golden_photos()
    golden.save(tmp_path / "a.npz")
    golden.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = GoldenImages.load(tmp_path / "a.npz")
    assert again.distance(golden.embeddings) == pytest.approx(0.0, abs=1e-7)
    assert again.distance(golden.embeddings[::-1]) > 1e-3
    assert again.distance(np.full_like(golden.embeddings, np.nan)) == 2.0
    assert again.distance(golden.embeddings[:2]) == 2.0


def test_cosine_distance_is_that_of_the_worst_row() -> None:
    one = np.array([[1, 0], [0, 2]], dtype=np.float32)
    other = np.array([[3, 0], [1, 0]], dtype=np.float32)
    assert cosine_distance(one, other) == pytest.approx(1.0)
    assert cosine_distance(one, -one) == pytest.approx(2.0)


def test_golden_images_are_no_part_of_the_version(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    without = rewritten(bundle, tmp_path / "without", golden=None)
    assert without.golden() is None
    assert without.model_version == rewritten(bundle, tmp_path / "with").model_version


def test_a_bundle_from_before_golden_images_is_read(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = rewritten(load_bundle(tiny_bundle), tmp_path / "old", golden=None)
    file = tmp_path / "old" / "bundle.json"
    stored = json.loads(file.read_text())
    del stored["golden_sha256"]
    file.write_text(json.dumps(stored))
    assert load_bundle(tmp_path / "old") == bundle


@pytest.mark.parametrize("damage", [None, b"", b"PK not an archive"])
def test_missing_or_damaged_golden_images_are_refused(
    tiny_bundle: Path, tmp_path: Path, damage: bytes | None
) -> None:
    copy = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    if damage is None:
        (copy / "golden.npz").unlink()
    else:
        (copy / "golden.npz").write_bytes(damage)
    with pytest.raises(InvalidInputError, match=r"golden\.npz is not the file"):
        load_bundle(copy)
    if damage is not None:
        with pytest.raises(InvalidInputError, match=r"golden\.npz is damaged"):
            GoldenImages.load(copy / "golden.npz")


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
async def test_training_index_and_query_see_the_same_vectors(
    default_bundle: Bundle, tmp_path: Path, backend: str
) -> None:
    """Training's features, an indexed photo and a query go through one preprocessing and one network."""
    golden = default_bundle.golden()
    assert golden is not None
    for number, photo in enumerate(golden.photos):
        (tmp_path / f"{number}.img").write_bytes(photo)
    extractor = FeatureExtractor(default_bundle, OnnxEncoder(default_bundle, 1), tmp_path / "cache", 1)
    photos = [tmp_path / f"{number}.img" for number in range(len(golden.photos))]
    features = extractor.extract(photos, 0, "mild", 0, lambda done, total: None)
    assert golden.distance(features.values[0]) <= golden.tolerance
    model = served(default_bundle.path, backend=backend, precision="f32")
    await model.load()
    assert golden.distance(await embeddings(model)) <= golden.tolerance
    await model.close()


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
async def test_wrong_preprocessing_is_never_ready(
    default_bundle: Bundle, tmp_path: Path, backend: str
) -> None:
    wrong = replace(default_bundle.preprocess, **IMAGENET)
    bundle = rewritten(default_bundle, tmp_path / "wrong", preprocess=wrong)
    model = served(bundle.path, backend=backend)
    with pytest.raises(FailedPreconditionError, match="golden images come out") as refused:
        await model.load()
    assert refused.value.reason is Reason.MODEL_PARITY_FAILED
    running = asyncio.create_task(model.run())
    while "golden images" not in await model.check_ready():
        await asyncio.sleep(0.01)
    with pytest.raises(UnavailableError, match="the preprocessing, the backend or the network differs"):
        model.pipeline()
    running.cancel()
    await model.close()


async def test_an_operator_may_allow_more(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    wrong = rewritten(bundle, tmp_path / "wrong", preprocess=replace(bundle.preprocess, mean=(120.0,) * 3))
    with pytest.raises(FailedPreconditionError):
        await served(wrong.path).load()
    model = served(wrong.path, golden_tolerance=2.0)
    await model.load()
    assert await model.check_ready() == ""
    await model.close()


async def test_a_bundle_put_in_place_of_a_wrong_one_is_served(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle, folder = load_bundle(tiny_bundle), tmp_path / "served"
    rewritten(bundle, folder, preprocess=replace(bundle.preprocess, **IMAGENET))
    model = served(folder, follow_seconds=0)
    running = asyncio.create_task(model.run())
    while "golden images" not in await model.check_ready():
        await asyncio.sleep(0.01)
    right = rewritten(bundle, folder)
    await running
    assert model.pipeline().bundle.model_version == right.model_version
    await model.close()
