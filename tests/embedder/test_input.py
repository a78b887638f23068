"""The extension's resize: Pillow's bytes, on every instruction set of this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.pillow_input import pillow_input
from embedder.decoding.decode import decode_image
from embedder.golden import golden_photos
from embedder.preprocess import PreprocessParams, preprocess, to_input
from lookalike import _native

PARAMS = PreprocessParams(size=64)
OF_EVERY_KIND = "2912108e40da033cb02163efa31ca7a78c20022de78fdad871184f289fc0a9ea"
"""SHA-256 of what :func:`test_the_numbers_never_change` prepares."""


@pytest.fixture(params=_native.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    _native.force_isa(request.param)
    yield request.param
    _native.force_isa(None)


def noise(width: int, height: int, seed: int, *, black_and_white: bool = False) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(np.where(pixels < 128, 0, 255).astype(np.uint8) if black_and_white else pixels)


def params() -> st.SearchStrategy[PreprocessParams]:
    colour = st.tuples(*[st.floats(0, 255)] * 3)
    return st.builds(
        PreprocessParams,
        size=st.integers(1, 300),
        mean=colour,
        std=st.tuples(*[st.floats(0.5, 255)] * 3),
        interpolation=st.sampled_from(["bilinear", "bicubic"]),
        fit=st.sampled_from(["pad_white", "stretch", "crop"]),
        crop_share=st.floats(0.5, 1),
    )


@given(
    st.one_of(st.integers(1, 40), st.integers(1, 900)),
    st.one_of(st.integers(1, 40), st.integers(1, 900)),
    params(),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from(_native.available_isas()),
)
@settings(max_examples=150, deadline=None)
def test_bytes_are_those_of_pillow(
    width: int, height: int, params: PreprocessParams, seed: int, black_and_white: bool, isa: str
) -> None:
    # Pillow makes all of what is cropped, however long it is.
    assume(params.fit != "crop" or max(width, height) <= 8 * min(width, height))
    image = noise(width, height, seed, black_and_white=black_and_white)
    _native.force_isa(isa)
    try:
        found = to_input(image, params)
    finally:
        _native.force_isa(None)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, pillow_input(image, params))


@pytest.mark.parametrize("size", [(1, 5_000), (5_000, 1), (3, 3_000), (3_000, 3)])
def test_lines_of_pixels(size: tuple[int, int], isa: str) -> None:
    image = noise(*size, seed=1)
    for params in (PARAMS, replace(PARAMS, fit="stretch")):
        np.testing.assert_array_equal(to_input(image, params), pillow_input(image, params))


def test_the_middle_of_a_line_of_pixels_costs_no_more_than_itself(isa: str) -> None:
    """Whole, it would become 64 x 12.8 million pixels."""
    image = Image.new("RGB", (200_000, 1), (9, 9, 9))
    image.paste(noise(400, 1, seed=4), (99_800, 0))
    params = replace(PARAMS, fit="crop")
    np.testing.assert_array_equal(
        to_input(image, params), pillow_input(image.crop((99_900, 0, 100_100, 1)), params)
    )


@pytest.mark.parametrize("size", [(2_600, 2_100), (1_200, 4_100), (1_500_000, 3)])
def test_a_picture_in_several_blocks_of_memory(size: tuple[int, int]) -> None:
    image = noise(*size, seed=2)
    assert image.width * image.height > 1 << 22  # Pillow's blocks have 16 MiB
    np.testing.assert_array_equal(to_input(image, PARAMS), pillow_input(image, PARAMS))


def test_photos_are_as_pillow_has_them() -> None:
    params = PreprocessParams()
    for photo in golden_photos():
        image = decode_image(photo, min_side=2 * params.size)
        np.testing.assert_array_equal(preprocess(photo, params), pillow_input(image, params))


def test_the_numbers_never_change(isa: str) -> None:
    """Also with a Pillow that resizes otherwise: these are bytes of version 1."""
    ramp = np.arange(311 * 173 * 3, dtype=np.uint32)
    wide = Image.fromarray((ramp * ramp // 7 % 256).astype(np.uint8).reshape(173, 311, 3))
    digest = hashlib.sha256()
    for image in (
        wide,
        wide.transpose(Image.Transpose.ROTATE_90),
        wide.resize((20, 173), Image.Resampling.NEAREST),
    ):
        for interpolation in ("bilinear", "bicubic"):
            for fit in ("pad_white", "stretch"):
                params = PreprocessParams(size=96, interpolation=interpolation, fit=fit)
                digest.update(to_input(image, params).tobytes())
    assert digest.hexdigest() == OF_EVERY_KIND


def test_the_picture_stays_as_it_was() -> None:
    image = noise(30, 20, seed=3)
    before = image.tobytes()
    to_input(image, PARAMS)
    assert image.tobytes() == before


SQUARE = noise(4, 4, 0)


@pytest.mark.parametrize(
    ("strips", "size", "fitted", "at", "problem"),
    [
        ([SQUARE.convert("L")], (4, 4), (4, 4), (0, 0), "four bytes a pixel"),
        ([SQUARE], (3, 4), (4, 4), (0, 0), "of a picture of this size"),
        ([SQUARE] * 2, (4, 4), (4, 4), (0, 0), "of a picture of this size"),
        ([SQUARE], (4, 5), (4, 4), (0, 0), "fewer rows"),
        ([], (4, 4), (4, 4), (0, 0), "fewer rows"),
        ([SQUARE], (4, 4), (4, 4), (8, 0), "lie on the square"),
        ([SQUARE], (4, 4), (4, 4), (0, -4), "lie on the square"),
        ([SQUARE], (4, 4), (0, 4), (0, 0), "has pixels"),
        ([SQUARE], (0, 4), (4, 4), (0, 0), "has pixels"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    strips: list[Image.Image],
    size: tuple[int, int],
    fitted: tuple[int, int],
    at: tuple[int, int],
    problem: str,
) -> None:
    with pytest.raises(ValueError, match=problem):
        _native.square_input(
            iter(strips), size, fitted, at, side=8, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1)
        )


def test_an_unknown_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="nearest"):
        _native.square_input(
            iter([SQUARE]),
            (4, 4),
            (4, 4),
            (0, 0),
            side=8,
            interpolation="nearest",
            mean=(0, 0, 0),
            std=(1, 1, 1),
        )
