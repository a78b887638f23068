"""What :class:`hasher.index.HashIndex` is asked and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from hasher.filters import Condition, Filter
from lookalike import _native
from lookalike.errors import DataLossError

__all__ = ["NO_ID", "EnginePanicError", "ExactCandidates", "IndexDamagedError", "IndexStats", "SearchResult"]

NO_ID: Final = 2**64 - 1
"""Pads the ids of short result rows; no item or product may have it."""


class IndexDamagedError(DataLossError, ValueError):
    """A stored index is missing, truncated, altered or of another format version.

    The index is derived data: build it again from the stored vectors.
    """


EnginePanicError = _native.EnginePanicError
"""The engine met a state that it should never be in: a defect of it, raised by any call.

The call had no effect, and the index answers as it did before; as its memory may not be what it should be,
discard it and build it again from the stored vectors.
"""


class IndexStats(TypedDict):
    """Figures about an index; ``*_bytes`` count the native arrays, also where they are mapped from a file.

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
    document_bytes: int
    recall_by_effort: tuple[float, ...]
    rebuilding: bool
    failed_rebuilds: int
    family: str
    rerank: str
    rotation: str
    isa: str


class SearchOptions(TypedDict, total=False):
    """Options of a search; :meth:`hasher.index.HashIndex.search_detailed` explains them."""

    probes: int | None
    rerank: int | None
    effort: float | None
    filter: Filter | Condition | None
    exclude: NDArray[np.uint64] | None
    group: bool
    ties: bool
    documents: bool
    threads: int
    exact: bool
    estimate: str


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
        buckets_probed: ``(q,)`` uint64, buckets that were looked into for each query; 0 where every row that
            may be found is scored, as in exact searches.
        candidates_reranked: ``(q,)`` uint64, rows that each query was scored with from the vectors that the
            index keeps.
        seconds: Time by stage (``hash``, ``probe``, ``scan``, ``rerank``), summed over the queries.
        documents: Of each query the documents of what was found, without padding; an empty one: the item has
            none. Empty where they were not asked for.
    """

    ids: NDArray[np.uint64]
    products: NDArray[np.uint64]
    scores: NDArray[np.float32]
    codes_scanned: NDArray[np.uint64]
    buckets_probed: NDArray[np.uint64]
    candidates_reranked: NDArray[np.uint64]
    seconds: dict[str, float]
    documents: list[list[bytes]]


@dataclass(frozen=True, slots=True)
class ExactCandidates:
    """The items that can be among the exact best.

    Attributes:
        ids: For each query ``(n,)`` uint64, ascending: the right answer and some more.
        codes_scanned: ``(q,)`` uint64, rows each query was compared with.
        seconds: Time by stage, as in :class:`SearchResult`.
    """

    ids: list[NDArray[np.uint64]]
    codes_scanned: NDArray[np.uint64]
    seconds: dict[str, float]
