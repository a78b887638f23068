"""What one picture may cost, found out before any of its pixels is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from lookalike.errors import InvalidInputError, Reason
from lookalike.limits import MAX_IMAGE_BYTES


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one picture may cost.

    Attributes:
        max_bytes: Size of the file.
        max_pixels: Pixels of a PNG, WebP or GIF, which are decoded at full size and take a few bytes of the
            file for millions of pixels.
        max_jpeg_pixels: Pixels that a JPEG may declare if it decodes in one pass, because the decoder
            then scales while it reads and never holds the full picture.
        max_jpeg_decoded_pixels: Pixels of a scaled JPEG's result, and of a JPEG that needs several
            (progressive) passes.
        max_jpeg_scan_pixels: Pixels times passes of a JPEG that needs several.
        max_jpeg_unended_pixels: Pixels that a JPEG without an end marker may declare, because it is decoded
            many times to find out whether it is whole.
    """

    max_bytes: int = MAX_IMAGE_BYTES
    max_pixels: int = 25_000_000
    max_jpeg_pixels: int = 210_000_000
    max_jpeg_decoded_pixels: int = 64_000_000
    max_jpeg_scan_pixels: int = 2_000_000_000
    max_jpeg_unended_pixels: int = 16_000_000


DEFAULT_LIMITS = DecodeLimits()


def check_pixels(size: tuple[int, int], limit: int) -> None:
    """Refuses a picture without pixels or with too many.

    Args:
        size: Width and height.
        limit: Pixels that are accepted at most.

    Raises:
        InvalidInputError: It is such a picture.
    """
    width, height = size
    if width < 1 or height < 1:
        raise InvalidInputError("the image has no pixels", reason=Reason.IMAGE_DAMAGED)
    if width * height > limit:
        raise InvalidInputError(
            f"the image needs {width * height:,} pixels to be decoded; at most {limit:,} are accepted",
            reason=Reason.IMAGE_TOO_MANY_PIXELS,
            metadata={"max_pixels": str(limit)},
        )
