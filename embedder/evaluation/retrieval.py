"""Search as it is measured: exact, with the post-processing that was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedder.evaluation.expansion import expand_queries
from embedder.evaluation.reranking import CANDIDATES, rerank
from embedder.evaluation.search import NOBODY, Neighbours, nearest
from embedder.evaluation.whitening import SHRINKAGE, fit_whitening


@dataclass(frozen=True, slots=True)
class Options:
    """Post-processing, in the order in which it is done.

    Attributes:
        whiten: Whiten all vectors, fitted on the index.
        shrinkage: Of the whitening.
        expand: Search again with each query's this many first results added; 0 does not.
        rerank: Re-rank the first 100 by their mutual neighbourhoods.
    """

    whiten: bool = False
    shrinkage: float = SHRINKAGE
    expand: int = 0
    rerank: bool = False

    @property
    def name(self) -> str:
        """What reports call it: ``plain``, or the steps joined by plus signs."""
        steps = [
            *(["whiten"] if self.whiten else []),
            *([f"expand {self.expand}"] if self.expand else []),
            *(["rerank"] if self.rerank else []),
        ]
        return "+".join(steps) or "plain"

    def variants(self) -> list[Options]:
        """Returns what to compare: nothing, each step alone, and last all that was asked for."""
        single = [
            Options(),
            *([Options(whiten=True, shrinkage=self.shrinkage)] if self.whiten else []),
            *([Options(expand=self.expand)] if self.expand else []),
            *([Options(rerank=True)] if self.rerank else []),
        ]
        return single if self in single else [*single, self]


PLAIN = Options()


def search(
    queries: npt.NDArray[np.float32],
    index: npt.NDArray[np.float32],
    own: npt.NDArray[np.int64],
    depth: int,
    options: Options,
) -> npt.NDArray[np.int64]:
    """Ranks the index for each query.

    Args:
        queries: ``(Q, D)`` float32, unit norm.
        index: ``(N, D)`` float32, unit norm, N >= 1, sorted by id.
        own: ``(Q,)`` int64, each query's own row, which is left out; -1 where it has none.
        depth: Results per query.
        options: The post-processing.

    Returns:
        ``(Q, min(depth, N))`` int64 rows of the index, best first; -1 fills up.

    Raises:
        InvalidInputError: Whitening with fewer than two different vectors in the index.
    """
    if options.whiten:
        whitening = fit_whitening(index, shrinkage=options.shrinkage)
        queries, index = whitening.apply(queries), whitening.apply(index)
    if options.expand:
        first = nearest(queries, index, options.expand, own)
        queries = expand_queries(queries, index, first, options.expand)
    found = nearest(queries, index, max(depth, CANDIDATES) if options.rerank else depth, own)
    positions = _reranked(queries, index, found) if options.rerank else found.positions
    return positions[:, :depth]


def _reranked(
    queries: npt.NDArray[np.float32], index: npt.NDArray[np.float32], found: Neighbours
) -> npt.NDArray[np.int64]:
    """Re-orders the first candidates; queries with a result fewer, their own, are done by themselves."""
    positions = found.positions.copy()
    counts = np.minimum((positions != NOBODY).sum(axis=1), CANDIDATES)
    for count in np.unique(counts):
        rows = np.flatnonzero(counts == count)
        positions[rows, :count] = rerank(queries[rows], index, positions[rows, :count])
    return positions
