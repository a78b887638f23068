from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from embedder.decoding.decode import decode_image
from embedder.decoding.limits import DecodeLimits
from embedder.decoding.region import Region
from embedder.preprocess import PreprocessParams, decode_for, preprocess, to_input
from lookalike.errors import InvalidInputError, Reason

PARAMS = PreprocessParams(size=64)
FIRST_HASH = "a45b40e714d5cf981d938b7375f2586b5d7fa4b8f6a345178a97bf98dd18030f"
"""Of the default parameters, in the first models."""
LARGE_MODEL = PreprocessParams(size=224)


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, file_format, **options)
    return out.getvalue()


def halves(width: int, height: int) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    return image


def test_every_kind_of_photo(photo_cases: dict[str, Any]) -> None:
    tensors = {}
    for name, case in photo_cases.items():
        if case.refused is None:
            tensors[name] = preprocess(case.content, PARAMS)
        else:
            with pytest.raises(InvalidInputError) as caught:
                preprocess(case.content, PARAMS)
            assert caught.value.reason == case.refused, name
    for name, tensor in tensors.items():
        assert tensor.shape == (3, 64, 64), name
        assert tensor.dtype == np.float32
        assert tensor.flags.c_contiguous
        if like := photo_cases[name].like:
            assert np.abs(tensor - tensors[like]).mean() < 0.05, name


def test_refusals_name_the_format_and_those_accepted(photo_cases: dict[str, Any]) -> None:
    for name, word in (("heic", "HEIC"), ("avif", "AVIF"), ("text", "JPEG, PNG, WebP or GIF")):
        with pytest.raises(InvalidInputError, match=word):
            preprocess(photo_cases[name].content, PARAMS)


def test_normalises_as_the_parameters_say() -> None:
    params = PreprocessParams(size=2, mean=(10, 20, 30), std=(1, 2, 4))
    tensor = preprocess(encode(Image.new("RGB", (2, 2), (11, 24, 42)), "PNG"), params)
    np.testing.assert_array_equal(tensor[:, 0, 0], [1, 2, 3])


def test_pads_with_white_to_a_square() -> None:
    tensor = preprocess(encode(Image.new("RGB", (64, 16), "black"), "PNG"), PARAMS)
    white, black = (255 - 127) / 128, -127 / 128
    assert (tensor[:, :24] == white).all()
    assert (tensor[:, 24:40] == black).all()
    assert (tensor[:, 40:] == white).all()


def test_stretching_fills_the_square() -> None:
    params = replace(PARAMS, fit="stretch")
    tensor = preprocess(encode(Image.new("RGB", (64, 16), "black"), "PNG"), params)
    assert (tensor == -127 / 128).all()


def test_cropping_leaves_the_middle() -> None:
    image = Image.new("RGB", (64, 16), "black")
    image.paste("white", (24, 0, 40, 16))
    params = replace(PARAMS, size=16, fit="crop")
    assert (preprocess(encode(image, "PNG"), params) == 1).all()
    closer = preprocess(encode(image.resize((128, 32)), "PNG"), replace(params, crop_share=0.5))
    assert (closer == 1).all()


@pytest.mark.parametrize(("region", "colour"), [((0, 0, 0.4, 1), 0), ((0.6, 0.2, 1, 0.8), 2)])
def test_a_region_is_the_picture_cut_to_it(region: Region, colour: int) -> None:
    pixels = np.asarray(decode_image(encode(halves(100, 50), "PNG"), region=region))
    assert (pixels[..., colour] == 255).all()


def test_a_region_counts_on_the_picture_as_shown() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # shown after a quarter turn clockwise: the left half comes up
    data = encode(halves(100, 50), "JPEG", exif=turned, quality=95)
    pixels = np.asarray(decode_image(data, region=(0, 0, 1, 0.4)))
    assert pixels.shape == (40, 50, 3)
    assert pixels[..., 0].mean() > 240


def test_a_tiny_region_holds_one_pixel() -> None:
    assert decode_image(encode(halves(4, 4), "PNG"), region=(0.999, 0.999, 1, 1)).size == (1, 1)


@pytest.mark.parametrize(
    "region",
    [(0, 0, 0, 1), (0.5, 0, 0.4, 1), (-0.1, 0, 1, 1), (0, 0, 1.1, 1), (0, 0, float("nan"), 1)],
)
def test_a_region_outside_the_picture_is_refused(region: Region) -> None:
    with pytest.raises(InvalidInputError) as caught:
        preprocess(encode(halves(8, 8), "PNG"), PARAMS, region)
    assert caught.value.reason == Reason.REGION_INVALID


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size() -> None:
    data = encode(halves(4000, 1000), "JPEG")
    whole = decode_image(data, min_side=448)
    assert whole.size == (500, 125)
    part = decode_image(data, min_side=448, region=(0, 0, 0.25, 1))
    assert part.size == (500, 500)
    exact = to_input(decode_image(data), LARGE_MODEL)
    assert np.abs(exact - preprocess(data, LARGE_MODEL)).mean() < 0.01
    assert decode_image(data, min_side=448, both_sides=True).size == (2000, 500)
    assert decode_for(data, LARGE_MODEL).size == whole.size
    assert decode_for(data, replace(LARGE_MODEL, fit="crop")).size == (2000, 500)


def test_pixels_are_limited_by_what_decoding_costs() -> None:
    limits = DecodeLimits(
        max_pixels=800, max_jpeg_decoded_pixels=1_000, max_jpeg_pixels=100_000, max_jpeg_scan_pixels=5_000
    )
    wide = halves(200, 100)
    assert decode_image(encode(wide, "JPEG"), limits, min_side=20).size == (25, 13)
    square = halves(30, 30)
    refused = [
        (encode(square, "PNG"), 20),
        (encode(square, "WEBP"), 20),
        (encode(square, "WEBP", lossless=True), 20),
        (encode(square, "WEBP", save_all=True, append_images=[halves(30, 30).rotate(90)]), 20),
        (encode(square, "GIF"), 20),
        (encode(wide, "JPEG", progressive=True), 20),  # needs the whole picture in memory
        (encode(square, "JPEG", progressive=True), 20),  # 900 pixels in ten passes
        (encode(wide, "JPEG"), None),
        (encode(halves(1000, 101), "JPEG"), 20),
    ]
    for data, min_side in refused:
        with pytest.raises(InvalidInputError) as caught:
            decode_image(data, limits, min_side=min_side)
        assert caught.value.reason == Reason.IMAGE_TOO_MANY_PIXELS


def test_damaged_exif_does_not_cost_the_picture() -> None:
    data = encode(halves(20, 10), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert decode_image(data).size == (20, 10)


def test_equal_parameters_have_equal_hashes() -> None:
    assert PreprocessParams().hash() == PreprocessParams(size=224).hash()
    changed = [
        replace(PARAMS, size=65),
        replace(PARAMS, mean=(1, 2, 3)),
        replace(PARAMS, std=(1, 2, 3)),
        replace(PARAMS, interpolation="bilinear"),
        replace(PARAMS, fit="stretch"),
        replace(PARAMS, version=2),
        replace(PARAMS, crop_share=0.9),
        replace(PARAMS, crop_to_object=True),
    ]
    assert len({PARAMS.hash(), *(params.hash() for params in changed)}) == 1 + len(changed)


def test_the_hashes_of_the_first_models_stay() -> None:
    """Of parameters that had no crop_share and no crop_to_object."""
    assert PreprocessParams().hash() == FIRST_HASH
    assert "crop_share" not in PreprocessParams().stored()


def test_threads_get_what_one_thread_gets(photo_cases: dict[str, Any]) -> None:
    data = [
        case.content
        for name, case in photo_cases.items()
        if case.refused is None and name != "100 megapixels"
    ]
    alone = [preprocess(content, PARAMS) for content in data]
    start = threading.Barrier(4)

    def all_of_them(_: int) -> list[np.ndarray]:
        start.wait()
        return [preprocess(content, PARAMS) for content in data]

    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(all_of_them, range(4)):
            assert all((a == b).all() for a, b in zip(alone, together, strict=True))


def test_pillow_keeps_its_process_wide_settings(photo_cases: dict[str, Any]) -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    preprocess(photo_cases["100 megapixels"].content, PARAMS)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def decodes_or_refuses(data: bytes) -> None:
    """Anything but a picture or a refusal that names the image fails the test."""
    try:
        reason, tensor = None, preprocess(data, PARAMS)
    except InvalidInputError as error:
        reason, tensor = error.reason, np.zeros(0, np.float32)
    assert reason is None or reason.startswith("IMAGE_")
    assert np.isfinite(tensor).all()


@given(
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBP"]), st.binary()
)
def test_random_bytes_are_refused_by_reason(prefix: bytes, data: bytes) -> None:
    decodes_or_refuses(prefix + data)


SMALL = halves(24, 16)
FILES: list[Callable[[], bytes]] = [
    lambda: encode(SMALL, "JPEG"),
    lambda: encode(SMALL, "JPEG", progressive=True),
    lambda: encode(SMALL.convert("CMYK"), "JPEG"),
    lambda: encode(SMALL, "PNG"),
    lambda: encode(SMALL.convert("P"), "PNG", transparency=0),
    lambda: encode(SMALL, "WEBP"),
    lambda: encode(SMALL, "WEBP", save_all=True, append_images=[SMALL.convert("L").convert("RGB")]),
    lambda: encode(SMALL, "GIF", save_all=True, append_images=[SMALL.convert("L")]),
]


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.floats(0.3, 1),
)
def test_mutated_files_are_decoded_or_refused_by_reason(
    make: Callable[[], bytes], changes: list[tuple[float, int]], kept: float
) -> None:
    data = bytearray(make())
    for place, value in changes:
        data[int(place * len(data))] = value
    decodes_or_refuses(bytes(data[: max(1, int(kept * len(data)))]))
