"""What the hasher's parts hand to each other: plain values, no transport and no storage in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasher.filters import Filter
from lookalike.collections import Spec


@dataclass(frozen=True, slots=True)
class Upsert:
    """Writes one row.

    ``vector`` is (dimension,) float32 of unit norm. ``item`` is the encoded item that readers get back; the
    store never looks into it, the index takes category and attributes from it. An empty ``product_id`` makes
    the item a product of its own.
    """

    item_id: str
    product_id: str
    item: bytes
    vector: NDArray[np.float32]
    if_version: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletes one row if there is one."""

    item_id: str
    if_version: int | None = None


Mutation = Upsert | Delete


@dataclass(frozen=True, slots=True)
class Change:
    """Mutations that are applied together, once for each ``request_id``."""

    request_id: str
    payload_hash: bytes
    mutations: tuple[Mutation, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mutation.

    ``version`` is the row's new version, 0 after a delete; where ``conflict`` is true nothing was done and
    ``version`` is the one that the row has (0: there is no row).
    """

    version: int
    existed: bool
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """The durable result of one change, at its position in the generation's log."""

    position: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as readers see it; ``vector`` is little-endian float32, or None where it was not asked for."""

    item: bytes
    version: int
    update_time_ns: int
    vector: bytes | None


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What the index is made of for one row; ``item`` is encoded."""

    vector: NDArray[np.float32]
    product_number: int
    item: bytes


@dataclass(frozen=True, slots=True)
class IndexEntries:
    """Index entries of n rows, in columns.

    ``row_numbers`` are ascending, ``vectors`` is (n, dimension) float32, ``items`` are encoded.
    """

    row_numbers: list[int]
    product_numbers: list[int]
    vectors: NDArray[np.float32]
    items: list[bytes]


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """One search: ``vectors`` is (n, dimension) float32 of unit norm, C-contiguous."""

    vectors: NDArray[np.float32]
    k: int
    group: bool = True
    exact: bool = False
    probes: int | None = None
    effort: float | None = None
    filter: Filter | None = None
    exclude_item_id: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A row found, with its cosine similarity."""

    score: float
    item: bytes


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The hits of each vector, best first, and what finding them took.

    ``seconds`` has the keys hash, probe, scan, rerank and fetch, summed over the vectors.
    """

    hits: list[list[Hit]]
    codes_scanned: list[int]
    codes_total: int
    position: int
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class GenerationStats:
    """The state of one generation."""

    name: str
    spec: Spec
    item_count: int
    product_count: int
    position: int
    index_bytes: int
