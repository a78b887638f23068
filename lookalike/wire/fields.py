"""Fields of encoded messages, for messages that are put together from parts that are encoded already.

See protobuf.dev/programming-guides/encoding: a tag, a length by seven bits, the content.
"""

from __future__ import annotations

from collections.abc import Iterator

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


def fields_in(encoded: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Takes fields apart that :func:`as_field` has made, one after the other.

    Args:
        encoded: Whole fields and nothing else.

    Yields:
        Each field, and its content.
    """
    at = 0
    while at < len(encoded):
        start, size, shift = at, 0, 0
        while True:
            at += 1
            size |= (encoded[at] & 0x7F) << shift
            shift += 7
            if encoded[at] <= 0x7F:
                break
        content_at, at = at + 1, at + 1 + size
        yield encoded[start:at], encoded[content_at:at]
