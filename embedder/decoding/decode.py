"""Decodes JPEG, PNG, WebP and GIF files of unknown origin to upright RGB.

Pillow's process-wide switches are left alone: the decoders are called directly, so neither
``Image.MAX_IMAGE_PIXELS`` nor its warnings apply. :class:`~embedder.decoding.limits.DecodeLimits` bounds the
work instead, from the header, before any pixel is decoded, and a
:class:`~embedder.decoding.budget.PixelBudget` the memory of all that is decoded at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from PIL import Image

from embedder.decoding.budget import PROCESS_BUDGET, PixelClaim
from embedder.decoding.gif import Gif
from embedder.decoding.jpeg import Jpeg, Needed
from embedder.decoding.limits import DEFAULT_LIMITS, DecodeLimits
from embedder.decoding.png import Png
from embedder.decoding.region import Region, check_region, pixel_box
from embedder.decoding.webp import WebP
from lookalike.errors import InvalidInputError, LookalikeError, Reason

ACCEPTED_FORMATS = "JPEG, PNG, WebP or GIF"
_ROTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Opened(Protocol):
    """A file whose header is read and within the limits.

    Attributes:
        pixels: Those that decoding holds at the same time.
    """

    pixels: int

    def decode(self) -> tuple[Image.Image, int]:
        """Decodes it, once: the picture as RGB, not yet turned, and its EXIF orientation."""
        ...


def decode_image(
    data: bytes,
    limits: DecodeLimits = DEFAULT_LIMITS,
    *,
    min_side: int | None = None,
    both_sides: bool = False,
    region: Region | None = None,
) -> Image.Image:
    """Decodes a picture to upright RGB: EXIF rotation applied, transparency over white, ICC ignored.

    Args:
        data: The file; of an animation the first frame counts.
        limits: Bounds on size and decoding work.
        min_side: Longest side that the caller needs, in pixels. A larger JPEG may come back scaled
            down by 2, 4 or 8, never below this. None decodes at full size.
        both_sides: The shorter side must not be below it either.
        region: The part of the picture to return; the whole picture by default.

    Returns:
        A Pillow image of mode ``RGB``, at least 1x1.

    Raises:
        InvalidInputError: The file is empty, too large, damaged or of another format, or the region
            is not a box within the picture. Its ``reason`` says which.
    """
    with decoded(data, limits, min_side=min_side, both_sides=both_sides, region=region) as image:
        return image


@contextmanager
def decoded(
    data: bytes,
    limits: DecodeLimits = DEFAULT_LIMITS,
    *,
    min_side: int | None = None,
    both_sides: bool = False,
    region: Region | None = None,
    claim: PixelClaim | None = None,
) -> Iterator[Image.Image]:
    """Lends what :func:`decode_image` returns, and holds its pixels of the budget for as long.

    Args:
        data: See :func:`decode_image`, as for the next four.
        limits: Bounds.
        min_side: Longest side needed.
        both_sides: Whether the shorter side is needed as long.
        region: Part of the picture.
        claim: The picture's claim on a budget; on that of the process by default.

    Raises:
        InvalidInputError: See :func:`decode_image`.
        WithdrawnError: The claim was withdrawn before its turn.
    """
    if region is not None:
        check_region(region)
    kind = _sniff(data, limits)
    with _as_damage(kind):
        needed = None if min_side is None else Needed(min_side, both_sides, region)
        opened = _open(kind, data, limits, needed)
    with (claim or PROCESS_BUDGET.claim()).held(opened.pixels):
        with _as_damage(kind):
            image, orientation = opened.decode()
        if orientation in _ROTATIONS:
            image = image.transpose(_ROTATIONS[orientation])
        yield image if region is None else image.crop(pixel_box(region, image.size))


def _open(kind: str, data: bytes, limits: DecodeLimits, needed: Needed | None) -> Opened:
    match kind:
        case "JPEG":
            return Jpeg(data, limits, needed)
        case "PNG":
            return Png(data, limits)
        case "WebP":
            return WebP(data, limits)
        case _:
            return Gif(data, limits)


@contextmanager
def _as_damage(kind: str) -> Iterator[None]:
    try:
        yield
    except LookalikeError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen unrelated types on hostile bytes
        raise InvalidInputError(
            f"the {kind} file is damaged or incomplete and cannot be decoded", reason=Reason.IMAGE_DAMAGED
        ) from error


def _sniff(data: bytes, limits: DecodeLimits) -> str:
    """Names the file's format from its first bytes, or refuses it."""
    if not data:
        raise InvalidInputError(
            f"the image is empty; send the bytes of a {ACCEPTED_FORMATS} file", reason=Reason.IMAGE_EMPTY
        )
    if len(data) > limits.max_bytes:
        raise InvalidInputError(
            f"the image has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted",
            reason=Reason.IMAGE_TOO_LARGE,
            metadata={"max_bytes": str(limits.max_bytes)},
        )
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    named = ""
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        named = (
            "AVIF "
            if brand in (b"avif", b"avis")
            else "HEIC/HEIF "
            if brand[:2] in (b"he", b"mi", b"ms")
            else ""
        )
    raise InvalidInputError(
        f"the {named}file is not of a supported format; send {ACCEPTED_FORMATS}",
        reason=Reason.IMAGE_FORMAT_UNSUPPORTED,
    )
