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


def attributes_of(item: types_pb2.Item) -> ItemAttributes:
    """Returns what a filter can ask of an item."""
    return ItemAttributes(tuple(item.category.names), dict(item.attributes))


def decoded_attributes(items: Iterable[bytes]) -> list[ItemAttributes]:
    """Returns what a filter can ask of encoded items.

    Raises:
        google.protobuf.message.DecodeError: One is not an encoded ``lookalike.v1.Item``.
    """
    return [attributes_of(types_pb2.Item.FromString(item)) for item in items]


def in_columns(rows: Iterable[ItemAttributes]) -> Attributes:
    """Returns attributes of items as the index takes them."""
    rows = list(rows)
    return Attributes([row.category for row in rows], [row.values for row in rows])
