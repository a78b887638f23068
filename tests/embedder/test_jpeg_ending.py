"""JPEGs without an end marker: read if all pixels are there, refused if they are cut off."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from embedder.decoding.decode import decode_image
from embedder.decoding.ending import decode_unended
from lookalike.errors import InvalidInputError, Reason

END = b"\xff\xd9"
KINDS: dict[str, dict[str, object]] = {
    "baseline": {},
    "optimised": {"optimize": True, "quality": 95},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 5},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
    "full colour": {"subsampling": 0, "quality": 100},
}
MODES = ("RGB", "L", "CMYK")
TAILS = {
    "nothing": b"",
    "half of the marker": b"\xff",
    "fill bytes": b"\xff" * 20,
    "zeros": bytes(1_000),
    "spaces": b" " * 1_000,
    "text": b"\r\n--boundary--\r\n",
    "anything": np.random.default_rng(5).bytes(2_000).replace(END, b""),
}


def jpeg(mode: str, **options: object) -> bytes:
    """A smooth picture with noise, of sides that are no multiples of a block's."""
    y, x = np.mgrid[0:150, 0:210]
    smooth = np.stack([x * 255 // 210, y * 255 // 150, (x + y) % 256], axis=-1)
    noise = np.random.default_rng(0).integers(-20, 20, smooth.shape)
    picture = Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))
    return saved(picture.convert(mode), **options)


def saved(picture: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", **options)
    return out.getvalue().removesuffix(END)


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("min_side", [None, 60])
def test_a_file_that_lacks_only_its_end_is_the_whole_picture(
    options: dict[str, object], mode: str, tail: bytes, min_side: int | None
) -> None:
    data = jpeg(mode, **options)
    whole = np.asarray(decode_image(data + END, min_side=min_side))
    np.testing.assert_array_equal(np.asarray(decode_image(data + tail, min_side=min_side)), whole)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("tail", [name for name in TAILS if name not in ("text", "anything")])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_a_file_that_is_cut_off_is_damaged_whatever_follows(
    options: dict[str, object], tail: str, kept: float
) -> None:
    """Unless what follows could be the picture's own bytes, and is as long."""
    data = jpeg("RGB", **options)
    with pytest.raises(InvalidInputError) as caught:
        decode_image(data[: int(kept * len(data))] + TAILS[tail])
    assert caught.value.reason == Reason.IMAGE_DAMAGED


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_no_cut_gives_another_picture(options: dict[str, object]) -> None:
    """Up to the last byte: where only padding bits are lost, the picture may be read."""
    data = jpeg("RGB", **options)
    whole = np.asarray(decode_image(data + END))
    for lost in range(1, 40):
        with suppress(InvalidInputError):
            np.testing.assert_array_equal(np.asarray(decode_image(data[:-lost])), whole)


def test_a_cut_between_two_restarts_or_two_scans_is_damage() -> None:
    restarts, scans = jpeg("RGB", restart_marker_blocks=5), jpeg("RGB", progressive=True)
    places = [restarts.index(bytes([0xFF, 0xD0 + number]), 700) for number in range(8)]
    places += [place + 2 for place in places]
    later = scans.index(b"\xff\xda")
    cuts = [restarts[:place] for place in places]
    while (later := scans.find(b"\xff\xc4", later + 1)) > 0:
        cuts.append(scans[:later])
    assert len(cuts) > 18
    for cut in cuts:
        with pytest.raises(InvalidInputError):
            decode_image(cut)


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_large_file_without_an_end_is_refused_before_it_is_decoded(options: dict[str, object]) -> None:
    """It would be decoded dozens of times."""
    data = saved(Image.new("RGB", (4_100, 4_000), "white"), **options)
    with pytest.raises(InvalidInputError) as caught:
        decode_image(data, min_side=256)
    assert caught.value.reason == Reason.IMAGE_TOO_MANY_PIXELS
    assert decode_image(data + END, min_side=256).width >= 256


def test_a_plain_corner_is_no_padding() -> None:
    """White codes as zeros: a file that ends with many of them is whole if it needs every one."""
    picture = Image.new("RGB", (600, 600), "white")
    picture.paste((200, 30, 60), (0, 0, 300, 100))
    data = saved(picture, optimize=True)
    assert data.endswith(bytes(20) + b"\x07")
    data = data[:-1] + b"\0"  # as encoders that pad the last byte with zeros
    whole = np.asarray(decode_image(data + END))
    np.testing.assert_array_equal(np.asarray(decode_image(data)), whole)
    with pytest.raises(InvalidInputError):
        decode_image(data[:-10] + bytes(500))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xda\0\x08",
        jpeg("RGB") + END,
        b"\xff\xd8" + b"\xff\xfe\0\2" * 2_000,
    ],
    ids=["signature", "marker", "scan without frame", "with its end", "comments"],
)
def test_what_is_no_file_without_its_end_is_not_even_decoded(data: bytes) -> None:
    def decode(file: bytes) -> Image.Image:
        raise AssertionError("decoded")

    assert decode_unended(data, decode) is None
