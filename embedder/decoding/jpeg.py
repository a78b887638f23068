"""JPEG files, decoded at a fraction of their size where no more is needed."""

from __future__ import annotations

import io
import math
from typing import NamedTuple

from PIL import Image, JpegImagePlugin

from embedder.decoding.ending import DECODINGS, decode_unended
from embedder.decoding.exif import orientation_of
from embedder.decoding.flatten import to_rgb
from embedder.decoding.limits import DecodeLimits, check_pixels
from embedder.decoding.region import Region
from embedder.decoding.segments import END_MARKER, read_header
from lookalike.errors import InvalidInputError, Reason


class Needed(NamedTuple):
    """How large a picture is needed.

    Attributes:
        min_side: Pixels of its longest side.
        both_sides: Its shorter side needs as many.
        region: The part of the picture that this is about; the whole picture by default.
    """

    min_side: int
    both_sides: bool = False
    region: Region | None = None


class Jpeg:
    """A JPEG file that is open, its pixels not yet decoded; see :class:`embedder.decoding.decode.Opened`.

    Args:
        data: The file.
        limits: Bounds on size and decoding work.
        needed: How large; None decodes at full size.
    """

    def __init__(self, data: bytes, limits: DecodeLimits, needed: Needed | None) -> None:
        header = read_header(data)
        if header is None:
            raise InvalidInputError("the JPEG file has no valid header", reason=Reason.IMAGE_DAMAGED)
        check_pixels(
            header.size, limits.max_jpeg_pixels if header.one_pass else limits.max_jpeg_decoded_pixels
        )
        self._file = header.without_metadata
        self._ended = self._file.rfind(END_MARKER) >= 0
        if not self._ended:
            check_pixels(header.size, limits.max_jpeg_unended_pixels)
        if not header.one_pass:
            passes = data.count(b"\xff\xda") * (1 if self._ended else DECODINGS)
            check_pixels((header.size[0] * passes, header.size[1]), limits.max_jpeg_scan_pixels)
        self._orientation = orientation_of(header.exif)
        self._draft = None
        if needed is not None:
            self._draft = _draft_size(header.size, needed, self._orientation, limits.max_jpeg_decoded_pixels)
        self._image: JpegImagePlugin.JpegImageFile | None = self._open(self._file)
        size = self._image.size
        check_pixels(size, limits.max_jpeg_decoded_pixels)
        # Several passes need all of the picture at once.
        held = 1 if self._ended else 2  # two pictures are compared
        self.pixels = held * math.prod(size if header.one_pass else header.size)

    def decode(self) -> tuple[Image.Image, int]:
        """Decodes it; a file that lacks nothing but its end marker too."""
        image, self._image = self._image, None
        assert image is not None
        if self._ended:
            image.load()
            return to_rgb(image), self._orientation
        whole = decode_unended(self._file, self._load)
        if whole is None:
            raise OSError("the file is cut off")
        return to_rgb(whole), self._orientation

    def _open(self, file: bytes) -> JpegImagePlugin.JpegImageFile:
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(file))
        if self._draft is not None:
            image.draft(None, self._draft)
        return image

    def _load(self, file: bytes) -> Image.Image:
        image = self._open(file)
        image.load()
        return image


def _draft_size(size: tuple[int, int], needed: Needed, orientation: int, max_pixels: int) -> tuple[int, int]:
    """Returns the smallest size to decode at such that the region keeps the sides that are needed."""
    width, height = size
    region = needed.region or (0.0, 0.0, 1.0, 1.0)
    across, down = region[2] - region[0], region[3] - region[1]
    if orientation >= 5:  # the stored picture lies on its side
        across, down = down, across
    decisive = (min if needed.both_sides else max)(width * across, height * down)
    scale = min(1.0, needed.min_side / max(1.0, decisive))
    # The decoder's next step up has at most twice the sides asked for, so four times the pixels.
    scale = min(scale, math.sqrt(max_pixels / (4.0 * width * height)))
    return max(1, int(width * scale)), max(1, int(height * scale))
