"""Alpha query expansion: search again with the query moved towards its first results.

Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019. It
helps where the first results are mostly right, and harms where they are not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedder.evaluation.search import Neighbours

ALPHA = 3.0


def expand_queries(
    queries: npt.NDArray[np.float32],
    index: npt.NDArray[np.float32],
    neighbours: Neighbours,
    count: int,
    alpha: float = ALPHA,
) -> npt.NDArray[np.float32]:
    """Adds to each query its first results, each weighted with its cosine to the power of ``alpha``.

    Args:
        queries: ``(Q, D)`` float32, unit norm.
        index: ``(N, D)`` float32, unit norm.
        neighbours: The queries' rankings, at least ``count`` deep where the index is.
        count: Results to add; 0 changes nothing.
        alpha: 0 adds them all alike; the larger, the more only the closest count. Results with a
            cosine of 0 or less are not added.

    Returns:
        ``(Q, D)`` float32, unit norm.
    """
    cosines = neighbours.scores[:, :count]
    weights = np.where(cosines > 0, np.maximum(cosines, 0) ** np.float32(alpha), np.float32(0))
    expanded = queries.copy()
    for place in range(cosines.shape[1]):
        expanded += weights[:, place, None] * index[neighbours.positions[:, place]]
    norms = np.linalg.norm(expanded, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = np.divide(expanded, norms, out=queries.copy(), where=norms > 0)
    return unit
