"""What must be known about a JPEG before it is decoded: its size, its passes and its EXIF block.

Pillow parses metadata while it opens a file, warns about damaged EXIF and gives no way to ask how many
passes the decoder will need. Walking the marker segments (ITU-T T.81, annex B) answers all three, and
lets the decoder run on a file without metadata.
"""

from __future__ import annotations

from dataclasses import dataclass

START_OF_SCAN = 0xDA
END_OF_IMAGE = 0xD9
END_MARKER = bytes([0xFF, END_OF_IMAGE])
# SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC), which share the range.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SEQUENTIAL_FRAMES = frozenset({0xC0, 0xC1})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_EXIF_SEGMENT = 0xE1
# Thumbnails, EXIF, ICC, XMP and comments. APP14 (EE) stays: it says how colours are coded.
_METADATA = frozenset(range(0xE1, 0xF0)) - {0xEE} | {0xFE}


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the segments before the first scan say.

    Attributes:
        size: Declared ``(width, height)`` in pixels.
        one_pass: All colours come in one sequential scan, so a decoder needs only a few rows at a time.
        exif: The EXIF block with its ``Exif\\0\\0`` prefix; empty if there is none.
        without_metadata: The same file without metadata segments.
    """

    size: tuple[int, int]
    one_pass: bool
    exif: bytes
    without_metadata: bytes


def read_header(data: bytes) -> JpegHeader | None:
    """Walks the segments up to the first scan; None if there is no frame or no scan."""
    position, kept, exif = 2, [data[:2]], b""
    frame: tuple[int, bytes] | None = None
    while True:
        start = position
        while position < len(data) and data[position] == 0xFF:
            position += 1
        if position == start or position >= len(data):
            return None
        marker, position = data[position], position + 1
        if marker in _WITHOUT_LENGTH:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        payload = data[position + 2 : position + length]
        if marker == END_OF_IMAGE or length < 2 or position + length > len(data):
            return None
        if marker == START_OF_SCAN:
            kept.append(data[start:])
            break
        position += length
        if marker == _EXIF_SEGMENT and payload.startswith(b"Exif\0\0") and not exif:
            exif = payload
        if marker in FRAMES:
            frame = marker, payload
        if marker not in _METADATA:
            kept.append(data[start:position])
    if frame is None or len(frame[1]) < 6 or not payload:
        return None
    kind, fields = frame
    return JpegHeader(
        size=(int.from_bytes(fields[3:5], "big"), int.from_bytes(fields[1:3], "big")),
        one_pass=kind in SEQUENTIAL_FRAMES and payload[0] == fields[5],
        exif=exif,
        without_metadata=b"".join(kept),
    )
