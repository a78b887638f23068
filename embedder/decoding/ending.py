"""JPEG files without an end marker: whole pictures, or cut off.

All pixels of a file that lacks nothing but its last two bytes are there, but no decoder says so: it waits for
more, or makes what is missing from the bytes that follow, or, given an end marker, from nothing. So the file
is ended in several ways, with different bytes before the marker. A decoder makes missing pixels from those,
and skips them after the last pixel: if the pictures are equal, then nothing was missing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from embedder.decoding.flatten import strips
from embedder.decoding.segments import END_MARKER, FRAMES, SEQUENTIAL_FRAMES, START_OF_SCAN

# Within a scan FF is followed by 00 or by the number of a restart; FF before another marker is a fill byte.
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_RESTARTS = range(0xD0, 0xD8)
_RESTART_INTERVAL = b"\xff\xdd"
# DHT, DAC, DQT, DNL, DRI, APPn and COM: all that may stand between two scans.
_BETWEEN_SCANS = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE})
_MAX_SEGMENTS = 1_000
_COEFFICIENTS = 64
_LONG_RUN = 8
# They begin with all values of three bits and go on at random, without FF.
_FILLINGS = [
    bytes([first << 5 | first]) + bytes(random.Random(first).choices(range(0xFF), k=255))
    for first in range(8)
]
DECODINGS = 2 * len(_FILLINGS)
"""How often a file without an end marker is decoded; up to three times as often if it ends in equal bytes."""


def decode_unended(data: bytes, decode: Callable[[bytes], Image.Image]) -> Image.Image | None:
    """Decodes a file that lacks only its end marker, whatever bytes follow; None if pixels are missing.

    Args:
        data: A JPEG file from its first byte.
        decode: Decodes one that has an end marker.
    """
    found = _last_scan(data)
    if found is None:
        return None
    start, end = found
    body = data[:end].rstrip(b"\xff")

    def decoded(body: bytes) -> Image.Image | None:
        return _agreed(map(decode, _ended(body, start)))

    without_run = body.rstrip(body[-1:])
    if len(body) - len(without_run) < _LONG_RUN:
        return decoded(body)
    # Equal bytes code a plain corner of the picture, every one of them needed, or are room that was made for
    # the rest of a file whose transfer broke off.
    if decoded(body[:-1]) is None and (image := decoded(body)) is not None:
        return image
    return decoded(without_run + b"\0" if without_run.endswith(b"\xff") else without_run)


def _agreed(images: Iterator[Image.Image]) -> Image.Image | None:
    """Returns the first image if all are equal, else None."""
    first = next(images)
    return first if all(_equal(first, other) for other in images) else None


def _equal(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and all(
        np.array_equal(np.asarray(one.crop(strip)), np.asarray(other.crop(strip)))
        for strip in strips(one.size)
    )


def _ended(body: bytes, scan: int) -> Iterator[bytes]:
    """Yields a file with several ends, given where the data of its last scan begin."""
    starts = [b""]
    if _RESTART_INTERVAL in body:
        # Cut where a decoder looks for a restart marker, a file would take no pixels from a filling.
        number = len(_RESTART.findall(body, scan)) % len(_RESTARTS)
        starts.append(bytes([0xFF, _RESTARTS[number]]))
    for start in starts:
        for filling in _FILLINGS:
            yield b"".join((body, start, filling, END_MARKER))


class _Coefficients:
    """The coefficients that a frame's scans have not yet brought in full precision.

    Args:
        kind: The frame's marker.
        fields: Its segment.
    """

    def __init__(self, kind: int, fields: bytes) -> None:
        self._one_scan_each = kind in SEQUENTIAL_FRAMES
        self._missing = {component: set(range(_COEFFICIENTS)) for component in fields[6::3][: fields[5]]}

    def bring(self, scan: bytes) -> None:
        """Removes what a scan brings, given its segment."""
        fields = 1 + 2 * scan[0]
        first, last, precision = scan[fields : fields + 3]
        for component in scan[1:fields:2]:
            if self._one_scan_each:
                self._missing[component].clear()
            elif precision & 0x0F == 0:
                self._missing[component] -= set(range(first, last + 1))

    @property
    def complete(self) -> bool:
        """Nothing is missing."""
        return not any(self._missing.values())


def _last_scan(data: bytes) -> tuple[int, int] | None:
    """Returns where the last scan's data begin and end; None if a scan is missing, or no end marker."""
    frame: _Coefficients | None = None
    position = 2
    try:
        for _ in range(_MAX_SEGMENTS):
            start = position
            while data[position] == 0xFF:
                position += 1
            marker, position = data[position], position + 1
            length = int.from_bytes(data[position : position + 2], "big")
            payload, position = data[position + 2 : position + length], position + length
            if marker in FRAMES:
                frame = _Coefficients(marker, payload)
            elif marker == START_OF_SCAN and frame is not None:
                frame.bring(payload)
                following = _MARKER_AFTER_SCAN.search(data, position)
                end = following.start() if following else len(data)
                if frame.complete:
                    return None if data[end : end + 2] == END_MARKER else (position, end)
                position = end
            elif position == start or marker not in _BETWEEN_SCANS:
                break
    except (IndexError, KeyError, ValueError):  # it ends within a segment, or contradicts itself
        pass
    return None
