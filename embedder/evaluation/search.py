"""Exact nearest neighbours by cosine: the ground that approximate search and post-processing stand on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NOBODY = -1
"""Where a ranking is shorter than its row, and where a query is not in the index itself."""

_SCORES_AT_ONCE = 32_000_000


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Rankings of several queries.

    Attributes:
        positions: ``(Q, depth)`` int64, row numbers in the index, best first; :data:`NOBODY` fills up.
        scores: ``(Q, depth)`` float32, falling; ``-inf`` fills up.
    """

    positions: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


def nearest(
    queries: npt.NDArray[np.float32],
    index: npt.NDArray[np.float32],
    depth: int,
    own: npt.NDArray[np.int64] | None = None,
) -> Neighbours:
    """Ranks the index for each query by the inner product, compared with every row.

    Args:
        queries: ``(Q, D)`` float32, unit norm.
        index: ``(N, D)`` float32, unit norm, N >= 1. Equal scores are ordered by row: sort the index by
            id to have ties broken by id.
        depth: Results per query; at most N are returned.
        own: ``(Q,)`` int64, each query's own row, which is left out; :data:`NOBODY` where it has none.

    Returns:
        The ``min(depth, N)`` best rows of each query.
    """
    depth = min(depth, len(index))
    positions = np.full((len(queries), depth), NOBODY, dtype=np.int64)
    best = np.full((len(queries), depth), -np.inf, dtype=np.float32)
    step = max(1, _SCORES_AT_ONCE // len(index))
    for start in range(0, len(queries), step):
        scores = queries[start : start + step] @ index.T
        if own is not None:
            mine = own[start : start + step]
            present = np.flatnonzero(mine != NOBODY)
            scores[present, mine[present]] = -np.inf
        worst_kept = np.partition(scores, len(index) - depth, axis=1)[:, len(index) - depth]
        for row, (values, threshold) in enumerate(zip(scores, worst_kept, strict=True), start=start):
            # All rows at the threshold take part, so that which of equals is kept depends on the row alone.
            candidates = np.flatnonzero((values >= threshold) & (values > -np.inf))
            order = candidates[np.argsort(-values[candidates], kind="stable")[:depth]]
            positions[row, : len(order)] = order
            best[row, : len(order)] = values[order]
    return Neighbours(positions, best)
