"""GIF files: the first frame."""

from __future__ import annotations

import io

from PIL import GifImagePlugin, Image

from embedder.decoding.exif import UPRIGHT
from embedder.decoding.flatten import to_rgb
from embedder.decoding.limits import DecodeLimits, check_pixels


class Gif:
    """A GIF file that is open, its pixels not yet decoded; see :class:`embedder.decoding.decode.Opened`."""

    def __init__(self, data: bytes, limits: DecodeLimits) -> None:
        self._image = GifImagePlugin.GifImageFile(io.BytesIO(data))
        check_pixels(self._image.size, limits.max_pixels)
        self.pixels = self._image.width * self._image.height

    def decode(self) -> tuple[Image.Image, int]:
        """Decodes it."""
        self._image.load()
        return to_rgb(self._image), UPRIGHT
