"""Altered copies of photos that are the same in every run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedder.preprocess import PreprocessParams
from embedder.training.augment import Augmentation
from embedder.training.copies import Copies

PARAMS = PreprocessParams(size=16)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    files = [folder / f"{number}.png" for number in range(40)]
    for number, file in enumerate(files):
        pixels = np.full((40, 40, 3), 255, dtype=np.uint8)  # a studio picture
        pixels[10:30, 10:30] = np.random.default_rng(number).integers(0, 200, (20, 20, 3))
        Image.fromarray(pixels).save(file)
    return files


def copies(photos: list[Path], augmentation: Augmentation = "strong", seed: int = 0) -> Copies:
    hashes = [hashlib.sha256(photo.read_bytes()).hexdigest() for photo in photos]
    return Copies(photos, hashes, PARAMS, augmentation, seed)


@pytest.mark.parametrize("augmentation", ["mild", "strong"])
def test_a_copy_follows_from_what_names_it(photos: list[Path], augmentation: Augmentation) -> None:
    one, other = copies(photos, augmentation), copies(photos[::-1], augmentation)
    pictures = {}
    for number in range(10):
        for copy in range(3):
            name = one.name(number, copy)
            pictures[name] = one.prepare(number, copy)
            assert other.name(39 - number, copy) == name
            np.testing.assert_array_equal(other.prepare(39 - number, copy), pictures[name])
    assert len(pictures) == len({picture.tobytes() for picture in pictures.values()}) == 30
    assert copies(photos, augmentation, seed=1).name(0, 1) != one.name(0, 1)
    assert copies(photos, augmentation, seed=1).name(0, 0) == one.name(0, 0)


def test_kinds_have_names_of_their_own(photos: list[Path]) -> None:
    mild, strong = copies(photos, "mild"), copies(photos, "strong")
    assert mild.name(3, 0) == strong.name(3, 0)
    assert mild.name(3, 1) != strong.name(3, 1)
    assert not np.array_equal(mild.prepare(3, 1), strong.prepare(3, 1))


def test_most_copies_stay_when_the_catalogue_grows(photos: list[Path]) -> None:
    before, after = copies(photos[:36]), copies(photos)
    stayed = [
        before.name(number, copy) == after.name(number, copy) for number in range(36) for copy in (1, 2, 3)
    ]
    assert 0.75 < np.mean(stayed) < 1


def test_a_photo_that_cannot_be_decoded_spoils_no_other(photos: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "text.png"
    bad.write_text("not a photo")
    pictures = copies([photos[0], bad])
    behind = [pictures.name(0, copy).endswith(pictures.name(1, 0)) for copy in range(1, 20)]
    assert any(behind)
    assert all(pictures.prepare(0, copy).shape == (3, 16, 16) for copy in range(1, 20))
