"""PNG files."""

from __future__ import annotations

import io

from PIL import Image, PngImagePlugin

from embedder.decoding.exif import orientation_of
from embedder.decoding.flatten import to_rgb
from embedder.decoding.limits import DecodeLimits, check_pixels


class Png:
    """A PNG file that is open, its pixels not yet decoded; see :class:`embedder.decoding.decode.Opened`."""

    def __init__(self, data: bytes, limits: DecodeLimits) -> None:
        self._image = PngImagePlugin.PngImageFile(io.BytesIO(data))
        check_pixels(self._image.size, limits.max_pixels)
        self.pixels = self._image.width * self._image.height

    def decode(self) -> tuple[Image.Image, int]:
        """Decodes it."""
        self._image.load()
        return to_rgb(self._image), orientation_of(self._image.info.get("exif", b""))
