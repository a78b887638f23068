"""WebP files: the first frame.

Pillow's decoder has two canvases of 4 bytes a pixel and hands a third copy over, the picture being a fourth.
It allocates when a file is opened, so the size is read from the header before (RFC 9649).
"""

from __future__ import annotations

import io

from PIL import Image, WebPImagePlugin

from embedder.decoding.exif import orientation_of
from embedder.decoding.flatten import to_rgb
from embedder.decoding.limits import DecodeLimits, check_pixels


class WebP:
    """A WebP file of which the header is read; see :class:`embedder.decoding.decode.Opened`."""

    def __init__(self, data: bytes, limits: DecodeLimits) -> None:
        self._data = data
        self._size = size = _declared_size(data)
        check_pixels(size, limits.max_pixels)
        self.pixels = size[0] * size[1]

    def decode(self) -> tuple[Image.Image, int]:
        """Decodes it."""
        image = WebPImagePlugin.WebPImageFile(io.BytesIO(self._data))
        if image.size != self._size:
            raise ValueError("the header has another size than the picture")
        image.load()
        orientation = orientation_of(image.info.get("exif", b""))
        # Both are kept for further frames: half of the memory.
        image.__dict__.pop("_decoder", None)
        image.fp = None
        return to_rgb(image), orientation


def _declared_size(data: bytes) -> tuple[int, int]:
    """Returns width and height as the first chunk has them.

    Raises:
        ValueError: A WebP file does not begin with it.
    """
    kind, chunk = data[12:16], data[20:30]
    if len(chunk) == 10:
        if kind == b"VP8X":
            return _number(chunk[4:7]) + 1, _number(chunk[7:10]) + 1
        if kind == b"VP8L" and chunk[0] == 0x2F:
            bits = _number(chunk[1:5])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        if kind == b"VP8 " and chunk[3:6] == b"\x9d\x01\x2a":
            return _number(chunk[6:8]) & 0x3FFF, _number(chunk[8:10]) & 0x3FFF
    raise ValueError("the file has no valid header")


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
