"""What :class:`hasher.index.HashIndex` answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import DataLossError

__all__ = ["NO_ID", "IndexDamagedError", "IndexStats", "SearchResult"]

NO_ID: Final = 2**64 - 1
"""Pads the ids of short result rows; no item or product may have it."""


class IndexDamagedError(DataLossError, ValueError):
    """A stored index is missing, truncated, altered or of another format version.

    The index is derived data: build it again from the stored vectors.
    """


class IndexStats(TypedDict):
    """Figures about an index; ``*_bytes`` count the native arrays.

    ``recall_by_effort`` is the recall of searches for 10 at efforts 0, 1/8, …, 1, measured when the buckets
    were trained, on vectors that they were trained without and against what effort 1 finds.
    ``rebuilding`` says whether the index is being retrained or compacted in the background;
    ``failed_rebuilds`` how often that failed since the index was built or opened, in which case it went on
    with the buckets it had.
    """

    items: int
    dead_rows: int
    dim: int
    bits: int
    tables: int
    seed: int
    trained_on: int
    buckets_per_table: int
    code_bytes: int
    vector_bytes: int
    bucket_bytes: int
    attribute_bytes: int
    recall_by_effort: tuple[float, ...]
    rebuilding: bool
    failed_rebuilds: int
    family: str
    rerank: str
    rotation: str
    isa: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What one search found and what it cost.

    Attributes:
        ids: ``(q, k)`` uint64, best first; short rows end with :data:`NO_ID`. With ``ties`` rows are as wide
            as the longest, if that has more than ``k``.
        products: As wide, uint64, the product of each id; short rows end with :data:`NO_ID`.
        scores: As wide, float32, the cosine (within 0.006 with int8) in -1..1, descending, ties by ascending
            id; short rows end with ``-inf``.
        codes_scanned: ``(q,)`` uint64, rows each query was compared with: removed ones, and those of each
            table, count too.
        seconds: Time by stage (``hash``, ``probe``, ``scan``, ``rerank``), summed over the queries.
    """

    ids: NDArray[np.uint64]
    products: NDArray[np.uint64]
    scores: NDArray[np.float32]
    codes_scanned: NDArray[np.uint64]
    seconds: dict[str, float]
