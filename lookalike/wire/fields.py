"""Fields of encoded messages, for messages that are put together from parts that are encoded already.

See protobuf.dev/programming-guides/encoding: a tag, a length by seven bits, the content.
"""

from __future__ import annotations

_WITH_LENGTH = 2


def header(number: int, size: int) -> bytes:
    """Returns the tag and length of a field.

    Args:
        number: Of the field, 1..15; its type is a message, bytes, a string or packed numbers.
        size: Bytes of the content.
    """
    encoded = bytearray([number << 3 | _WITH_LENGTH])
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)


def as_field(number: int, content: bytes) -> bytes:
    """Returns a whole field; see :func:`header`."""
    return header(number, len(content)) + content
