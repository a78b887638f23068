"""Searches by product: which products each one finds, with which scores, and where the right one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedder.evaluation.search import NOBODY

_SCORES_AT_ONCE = 32_000_000


@dataclass(frozen=True, slots=True)
class ProductRankings:
    """The best products of several searches.

    Attributes:
        scores: ``(Q, n)`` float32, the score of each product's best item, falling; ``-inf`` fills up.
        right: ``(Q,)`` int64, the place of the product that was searched for; :data:`NOBODY` where it is not
            among them.
    """

    scores: npt.NDArray[np.float32]
    right: npt.NDArray[np.int64]

    def first(self, depth: int) -> ProductRankings:
        """Returns the rankings cut to a depth."""
        right = np.where(self.right < depth, self.right, NOBODY)
        return ProductRankings(self.scores[:, :depth], right)

    def some(self, rows: npt.NDArray[np.int64]) -> ProductRankings:
        """Returns the rankings of some of the searches."""
        return ProductRankings(self.scores[rows], self.right[rows])

    def without_the_right_one(self) -> ProductRankings:
        """Returns what the same searches find where the product is not there: one product less each."""
        places = np.arange(self.scores.shape[1])
        # Those without it lose their last product, which the others have not seen either.
        gone = np.where(self.right == NOBODY, len(places) - 1, self.right)
        kept = places[None, :] != gone[:, None]
        scores = self.scores[kept].reshape(len(self.scores), len(places) - 1)
        return ProductRankings(scores, np.full_like(self.right, NOBODY))


def joined(parts: Sequence[ProductRankings]) -> ProductRankings:
    """Returns rankings of equal depth as one."""
    return ProductRankings(
        np.concatenate([part.scores for part in parts]), np.concatenate([part.right for part in parts])
    )


def rank_products(
    queries: npt.NDArray[np.float32],
    asked: Sequence[str],
    index: npt.NDArray[np.float32],
    products: Sequence[str],
    depth: int,
    own: npt.NDArray[np.int64] | None = None,
) -> ProductRankings:
    """Ranks the products of an index for each query by their best item, compared with every row.

    Args:
        queries: ``(Q, D)`` float32, unit norm.
        asked: The product of each query.
        index: ``(N, D)`` float32, unit norm, N >= 1.
        products: The product of each row; equal scores are in the order of the products.
        depth: Products per query; where the index has fewer, the rest is filled up.
        own: ``(Q,)`` int64, each query's own row, which is left out; :data:`NOBODY` where it has none.
    """
    names, numbers = np.unique(np.asarray(products), return_inverse=True)
    by_product = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[by_product], np.arange(len(names)))
    place_of = {name: number for number, name in enumerate(names.tolist())}
    wanted = np.array([place_of.get(product, NOBODY) for product in asked], dtype=np.int64)
    kept = min(depth, len(names))
    found = np.full((len(queries), depth), -np.inf, dtype=np.float32)
    right = np.full(len(queries), NOBODY, dtype=np.int64)
    step = max(1, _SCORES_AT_ONCE // len(index))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        scores = queries[rows] @ index.T
        if own is not None:
            present = np.flatnonzero(own[rows] != NOBODY)
            scores[present, own[rows][present]] = -np.inf
        best = np.maximum.reduceat(scores[:, by_product], starts, axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :kept]
        found[rows, :kept] = np.take_along_axis(best, order, axis=1)
        is_right = (order == wanted[rows, None]) & (found[rows, :kept] > -np.inf)
        right[rows] = np.where(is_right.any(axis=1), is_right.argmax(axis=1), NOBODY)
    return ProductRankings(found, right)
