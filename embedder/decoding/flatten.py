"""From a decoded picture of any mode to RGB, with white where it is transparent.

Pillow's own conversions need three more copies of the whole picture, clip 16-bit grey at 255, and know
transparent colours of 8 bits only. Here pictures are converted strip by strip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

STRIP_PIXELS = 1 << 20
"""Of one strip, unless a row has more."""

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


def to_rgb_without(high: Image.Image, low: Image.Image, transparent: tuple[int, int, int]) -> Image.Image:
    """Returns a picture of 16 bits per channel as RGB, white where it has the transparent colour.

    Args:
        high: The upper bytes, RGB.
        low: The lower bytes, RGB.
        transparent: The colour, of 16 bits per channel.
    """
    key = np.asarray(transparent)
    upper, lower = (key >> 8).astype(np.uint8), (key & 0xFF).astype(np.uint8)

    def convert(strip: Strip) -> Image.Image:
        pixels = np.array(high.crop(strip))
        found = (pixels == upper).all(axis=-1) & (np.asarray(low.crop(strip)) == lower).all(axis=-1)
        pixels[found] = 255
        return Image.fromarray(pixels)

    return _by_strips(high.size, convert)


def strips(size: tuple[int, int]) -> Iterator[Strip]:
    """Yields boxes of whole rows that cover a picture, each small in memory."""
    width, height = size
    rows = max(1, STRIP_PIXELS // width)
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
    if "transparency" in image.info:
        upper[grey == image.info["transparency"]] = 255
    return Image.fromarray(upper).convert("RGB")


def _over_white(strip: Image.Image) -> Image.Image:
    rgba = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
