"""What the index has to know of stored items: their categories and attributes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from hasher.filters import Attributes
from lookalike.v1 import types_pb2


class ItemAttributes(NamedTuple):
    """What a filter can ask of one item."""

    category: tuple[str, ...]
    values: dict[str, str]


def attributes_of(item: bytes) -> ItemAttributes:
    """Returns what a filter can ask of an item.

    Args:
        item: An encoded ``lookalike.v1.Item``.

    Raises:
        google.protobuf.message.DecodeError: It is none.
    """
    message = types_pb2.Item.FromString(item)
    return ItemAttributes(tuple(message.category.names), dict(message.attributes))


def index_attributes(items: Iterable[bytes]) -> Attributes:
    """Returns what the index keeps of encoded items.

    Raises:
        google.protobuf.message.DecodeError: One is no encoded ``lookalike.v1.Item``.
    """
    rows = [attributes_of(item) for item in items]
    return Attributes([row.category for row in rows], [row.values for row in rows])
