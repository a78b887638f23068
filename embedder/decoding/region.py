"""The part of a picture that counts."""

from __future__ import annotations

import math

from lookalike.errors import InvalidInputError, Reason

Region = tuple[float, float, float, float]
"""A box ``(x0, y0, x1, y1)``: shares of width and height in 0..1, of the picture as it is displayed."""


def check_region(region: Region) -> None:
    """Refuses what is not a box within a picture.

    Raises:
        InvalidInputError: The region is not (``REGION_INVALID``).
    """
    x0, y0, x1, y1 = region
    if not (all(math.isfinite(side) for side in region) and 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise InvalidInputError(
            "the region must be a box with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1",
            reason=Reason.REGION_INVALID,
        )


def pixel_box(region: Region, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Rounds the box to pixels, outwards, so that it always holds at least one."""
    width, height = size
    left, top = min(width - 1, int(region[0] * width)), min(height - 1, int(region[1] * height))
    right, bottom = math.ceil(region[2] * width), math.ceil(region[3] * height)
    return left, top, max(left + 1, min(width, right)), max(top + 1, min(height, bottom))
