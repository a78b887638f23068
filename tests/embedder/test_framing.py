"""Where a picture shows its object, if all around it is one colour."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from embedder.framing import object_box
from embedder.preprocess import PreprocessParams, preprocess, to_input

WHITE = (255, 255, 255)
RED = (200, 30, 30)
PLAIN = PreprocessParams(size=64)
CUT = PreprocessParams(size=64, crop_to_object=True)


def studio(
    size: tuple[int, int],
    box: tuple[int, int, int, int],
    background: tuple[int, int, int] = WHITE,
) -> Image.Image:
    image = Image.new("RGB", size, background)
    ImageDraw.Draw(image).rectangle(box, fill=RED)
    return image


def with_noise(image: Image.Image, levels: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(-levels, levels + 1, (image.height, image.width, 1))
    return Image.fromarray((np.asarray(image).astype(int) + noise).clip(0, 255).astype(np.uint8))


def as_jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return Image.open(file).convert("RGB")


@given(
    st.tuples(st.integers(40, 700), st.integers(40, 700)),
    st.tuples(*[st.floats(0.05, 0.95)] * 4),
    st.sampled_from([WHITE, (0, 0, 0), (90, 140, 90)]),
)
@example((700, 40), (0.1, 0.3, 0.05, 0.5), WHITE)
@settings(max_examples=100, deadline=None)
def test_the_box_holds_the_object_and_is_square_where_the_picture_allows(
    size: tuple[int, int], corners: tuple[float, float, float, float], background: tuple[int, int, int]
) -> None:
    (x0, x1), (y0, y1) = sorted(corners[:2]), sorted(corners[2:])
    box = (int(x0 * size[0]), int(y0 * size[1]), int(x1 * size[0]), int(y1 * size[1]))
    found = object_box(studio(size, box, background))
    longer = max(box[2] - box[0], box[3] - box[1]) + 1
    if found is None:
        free = min(*box[:2], size[0] - 1 - box[2], size[1] - 1 - box[3])
        assert longer < 0.12 * max(size) or longer > 0.9 * max(size) or free < max(size) / 128
        return
    left, top, right, bottom = found
    assert 0 <= left <= box[0] <= box[2] < right <= size[0]
    assert 0 <= top <= box[1] <= box[3] < bottom <= size[1]
    across, down = right - left, bottom - top
    assert max(across, down) <= 1.12 * longer + 4 * (1 + max(size) // 128)
    inside = left > 0 and top > 0 and right < size[0] and bottom < size[1]
    assert not inside or abs(across - down) <= 2


@pytest.mark.parametrize(
    "image",
    [
        as_jpeg(studio((300, 200), (100, 60, 160, 150))),
        with_noise(studio((300, 200), (100, 60, 160, 150), (238, 238, 232)), 8),
        as_jpeg(studio((1200, 800), (400, 240, 640, 600), (20, 20, 24))),
    ],
    ids=["JPEG", "noise", "dark"],
)
def test_noise_counts_for_nothing(image: Image.Image) -> None:
    found = object_box(image)
    assert found is not None
    scale = image.width / 300
    # Around an edge JPEG changes up to a block of 16 pixels.
    assert np.abs(np.array(found) / scale - [80, 55, 180, 155]).max() < 10


def shelf() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8))


def gradient() -> Image.Image:
    return Image.linear_gradient("L").resize((160, 120)).convert("RGB")


@pytest.mark.parametrize(
    "image",
    [
        shelf(),
        gradient(),
        Image.new("RGB", (160, 120), WHITE),
        studio((160, 120), (80, 60, 82, 62)),
        studio((160, 120), (40, 30, 120, 119)),
        studio((160, 120), (0, 0, 159, 20)),
        studio((160, 2), (40, 0, 120, 1)),
        studio((160, 120), (4, 4, 155, 115)),
    ],
    ids=["shelf", "gradient", "empty", "speck", "touches an edge", "along an edge", "line", "fills it"],
)
def test_other_pictures_stay_as_they_are(image: Image.Image) -> None:
    assert object_box(image) is None
    np.testing.assert_array_equal(to_input(image, CUT), to_input(image, PLAIN))


def test_a_small_object_becomes_as_large_as_a_large_one() -> None:
    drawn = studio((80, 80), (4, 4, 75, 75))
    ImageDraw.Draw(drawn).ellipse((20, 30, 50, 60), fill=(20, 20, 200))
    small = Image.new("RGB", (400, 240), WHITE)
    small.paste(drawn, (40, 120))
    cut, plain = (np.abs(to_input(drawn, params) - to_input(small, params)).mean() for params in (CUT, PLAIN))
    assert cut < 0.2 * plain


def test_a_region_is_looked_at_as_a_picture_of_its_own() -> None:
    image = studio((400, 200), (40, 40, 79, 79))
    ImageDraw.Draw(image).rectangle((250, 50, 349, 149), fill=(20, 20, 200))
    file = io.BytesIO()
    image.save(file, "PNG")
    found = preprocess(file.getvalue(), CUT, region=(0, 0, 0.5, 1))
    np.testing.assert_array_equal(found, to_input(image.crop((0, 0, 200, 200)), CUT))
    assert np.abs(found - preprocess(file.getvalue(), CUT)).mean() > 0.3
