"""Where a picture shows its object, if all around it is one colour, as in a studio."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

# What follows decides the numbers that pictures become: `embedder.preprocess.VERSION` is about it too.
_BLOCKS = 128
"""Of the longer side at least: averages over so small a part show an edge, and hide noise."""
_TOLERANCE = 14
"""Levels of 0..255 from the border's colour: JPEG's noise, and light that falls off a little."""
_UNIFORM_SHARE = 0.98
"""Of each side's blocks: a speck on the edge does not count."""
_MARGIN = 0.05
"""Of the object's longer side, on each side."""
_SMALLEST = 0.1
"""Of the picture's longer side: anything smaller is dirt, or a mark on an empty picture."""

Box = tuple[int, int, int, int]


def object_box(image: Image.Image) -> Box | None:
    """Finds the object in a picture whose border has one colour on all four sides.

    The box holds whatever differs from that colour and a margin, and is as square as the picture allows: what
    is added is of the border's colour, and what a square input is filled with need not be.

    Args:
        image: RGB.

    Returns:
        ``(left, top, right, bottom)`` in pixels, as Pillow takes it; None where the border is not of one
        colour, or there is nothing to cut off.
    """
    width, height = image.size
    block = max(1, max(width, height) // _BLOCKS)
    if min(width, height) < 3 * block or not _corners_alike(image):
        return None
    colour = _border_colour(image, block)
    if colour is None:
        return None
    differs = _differ(np.asarray(image.reduce(block)), colour)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return None
    left, right = int(columns[0]) * block, min(width, int(columns[-1] + 1) * block)
    top, bottom = int(rows[0]) * block, min(height, int(rows[-1] + 1) * block)
    longer = max(right - left, bottom - top)
    if longer < _SMALLEST * max(width, height):
        return None
    half = (0.5 + _MARGIN) * longer
    (x0, x1), (y0, y1) = _around(left, right, half, width), _around(top, bottom, half, height)
    return None if (x0, y0, x1, y1) == (0, 0, width, height) else (x0, y0, x1, y1)


def _corners_alike(image: Image.Image) -> bool:
    """Returns whether the corners may be of one colour, which those of few photos are: it is quickly seen."""
    right, bottom = image.width - 1, image.height - 1
    corners = [image.getpixel(corner) for corner in ((0, 0), (right, 0), (0, bottom), (right, bottom))]
    return bool(np.ptp(np.asarray(corners), axis=0).max() <= 2 * _TOLERANCE)


def _border_colour(image: Image.Image, block: int) -> npt.NDArray[np.float64] | None:
    """Returns the colour ``(3,)`` that all four sides have; None if they have none."""
    width, height = image.size
    sides = [
        np.asarray(image.reduce(block, box=box)).reshape(-1, 3)
        for box in (
            (0, 0, width, block),
            (0, height - block, width, height),
            (0, 0, block, height),
            (width - block, 0, width, height),
        )
    ]
    colour: npt.NDArray[np.float64] = np.median(np.concatenate(sides), axis=0)
    if any((~_differ(side, colour)).mean() < _UNIFORM_SHARE for side in sides):
        return None
    return colour


def _differ(blocks: npt.NDArray[np.uint8], colour: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Returns for blocks ``(..., 3)`` which of them have another colour, ``(...)``."""
    differs: npt.NDArray[np.bool_] = np.abs(blocks - colour).max(axis=-1) > _TOLERANCE
    return differs


def _around(start: int, end: int, half: float, length: int) -> tuple[int, int]:
    """Returns what lies ``half`` around the middle of a part of a line of pixels."""
    middle = (start + end) / 2
    return max(0, math.floor(middle - half)), min(length, math.ceil(middle + half))
