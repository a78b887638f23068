"""From a decoded picture of any mode to RGB, with white where it is transparent.

Pillow's own conversions need three more copies of the whole picture, and clip 16-bit grey at 255. Here
pictures are converted strip by strip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

_STRIP_PIXELS = 1 << 20

Strip = tuple[int, int, int, int]
"""The box of some whole rows, as Pillow takes it."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns a loaded picture as RGB: itself if it is, else a copy.

    Args:
        image: A picture of any mode that JPEG, PNG, WebP and GIF files have. A transparent colour in its
            ``info`` is on the scale of its pixels.
    """
    if image.mode.startswith("I"):  # 16-bit grey
        return _by_strips(image.size, lambda strip: _grey16(image, strip))
    if image.has_transparency_data:
        return _by_strips(image.size, lambda strip: _over_white(image.crop(strip)))
    return image if image.mode == "RGB" else image.convert("RGB")


def strips(size: tuple[int, int]) -> Iterator[Strip]:
    """Yields boxes of whole rows that cover a picture, each small in memory."""
    width, height = size
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def _by_strips(size: tuple[int, int], convert: Callable[[Strip], Image.Image]) -> Image.Image:
    result = Image.new("RGB", size)
    for strip in strips(size):
        result.paste(convert(strip), strip[:2])
    return result


def _grey16(image: Image.Image, strip: Strip) -> Image.Image:
    grey: npt.NDArray[np.integer] = np.asarray(image.crop(strip))
    if image.mode == "I":  # 32 bits, signed
        grey = grey.clip(0, 0xFFFF)
    upper = (grey >> 8).astype(np.uint8)
    return Image.fromarray(upper).convert("RGB")


def _over_white(strip: Image.Image) -> Image.Image:
    rgba = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
