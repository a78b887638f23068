"""PNG files, with every kind of transparency that they have."""

from __future__ import annotations

import io

from PIL import Image, PngImagePlugin

from embedder.decoding.exif import orientation_of
from embedder.decoding.flatten import to_rgb, to_rgb_without
from embedder.decoding.limits import DecodeLimits, check_pixels

_DEPTH_OFFSET = 24  # signature, then the header chunk: length, kind, width, height, depth
_FIRST_CHUNK = 8


class Png:
    """A PNG file that is open, its pixels not yet decoded; see :class:`embedder.decoding.decode.Opened`."""

    def __init__(self, data: bytes, limits: DecodeLimits) -> None:
        self._data = data
        self._image = PngImagePlugin.PngImageFile(io.BytesIO(data))
        check_pixels(self._image.size, limits.max_pixels)
        self.pixels = self._image.width * self._image.height

    def decode(self) -> tuple[Image.Image, int]:
        """Decodes it."""
        image, depth = self._image, self._data[_DEPTH_OFFSET]
        image.load()
        orientation = orientation_of(image.info.get("exif", b""))
        transparent = image.info.get("transparency")
        if image.mode in ("1", "L") and transparent is not None:
            # Pillow puts the levels on the scale 0..255, and leaves the transparent one as it is in the file.
            highest = (1 << depth) - 1
            image.info["transparency"] = (_transparent_level(self._data) & highest) * (255 // highest)
        elif image.mode == "RGB" and depth == 16 and isinstance(transparent, tuple):
            return to_rgb_without(image, self._lower_bytes(), transparent), orientation
        return to_rgb(image), orientation

    def _lower_bytes(self) -> Image.Image:
        """Decodes the lower bytes of 16 bits per channel, of which Pillow keeps the upper ones."""
        image = PngImagePlugin.PngImageFile(io.BytesIO(self._data))
        image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
        image.load()
        return image


def _transparent_level(data: bytes) -> int:
    """Returns what the chunk ``tRNS`` of a grey picture says, unused bits included."""
    position = _FIRST_CHUNK
    while position < len(data):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if kind == b"tRNS":
            return int.from_bytes(data[position + 8 : position + 10], "big")
        position += 12 + length
    raise ValueError("the file has no such chunk")
