"""What the rows of a generation hand to its other parts: plain values, without transport or storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasher.attributes import ItemAttributes
from lookalike.collections import Spec


@dataclass(frozen=True, slots=True)
class Creation:
    """What a generation is made with.

    ``request_id`` is that of the request that made it: the same request again finds it, any other is refused.
    ``positions`` says where its log begins, by lane.
    """

    spec: Spec
    request_id: str
    installation_id: str
    shard: int
    shard_count: int
    log_id: str
    positions: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as readers see it; ``vector`` is little-endian float32, or None where it was not asked for."""

    item: bytes
    version: int
    update_time_ns: int
    vector: bytes | None


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What the index is made of for one row."""

    vector: NDArray[np.float32]
    product_number: int
    attributes: ItemAttributes
    document: bytes


@dataclass(frozen=True, slots=True)
class IndexEntries:
    """Index entries of n rows, in columns.

    Each of ``row_numbers`` is there once, ``vectors`` is (n, dimension) float32.
    """

    row_numbers: list[int]
    product_numbers: list[int]
    vectors: NDArray[np.float32]
    attributes: list[ItemAttributes]
    documents: list[bytes]


@dataclass(frozen=True, slots=True)
class VectorRows:
    """Vectors of n rows as they were written, in columns; ``vectors`` is (n, dimension) float32."""

    numbers: Sequence[int]
    item_ids: Sequence[str]
    products: Sequence[int]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GenerationStats:
    """The state of one generation; ``failure`` says why it takes no writes, empty: it does."""

    name: str
    spec: Spec
    item_count: int
    product_count: int
    position: int
    index_bytes: int
    log_id: str
    failure: str
