"""Which products labelled queries find, asked through the public API, and how likely these are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedder.evaluation.calibration import FOLDS, best_hits
from embedder.evaluation.products import ProductRankings
from embedder.evaluation.reliability import match_figures
from embedder.evaluation.search import NOBODY
from lookalike.catalogue.catalog import product_fold
from lookalike.catalogue.pairs import LabelledQuery
from lookalike.cli.console import Update
from lookalike.cli.ranking import ask_each
from lookalike.matching import DEPTH, MatchCalibration

if TYPE_CHECKING:
    from lookalike.client import Client, SearchResult

_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answered:
    """Queries of one kind: all for what is in the collection, or all for what is not.

    Attributes:
        rankings: Their products, DEPTH + 1 deep; DEPTH where they are those of others, less the right one.
        folds: A fold for each, by its product where that is known.
        served: ``(Q,)`` float64, the probability of the best hit as the server said it: NaN where it said
            none, 0 where it found nothing. None for answers that were never asked for.
    """

    rankings: ProductRankings
    folds: list[int]
    served: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class ProductAnswers:
    """What labelled queries found.

    Attributes:
        present: Those whose product is in the collection.
        absent: Those whose product is not; without any, the first with their product left out.
        absent_share: The share of the second; 0 where there were none.
        model_version: Of the collection.
    """

    present: Answered
    absent: Answered
    absent_share: float
    model_version: str

    def served_figures(self, calibration: MatchCalibration, absent_share: float) -> dict[str, Any]:
        """Returns how far the served probabilities can be believed, as ``lookalike evaluate`` writes it.

        Args:
            calibration: Which the server has; says the probabilities of answers that were never asked for.
            absent_share: How frequent searches for what is not there are, 0..1.
        """
        assert self.present.served is not None
        of_absent = self.absent.served
        if of_absent is None:
            of_absent, _ = best_hits(calibration, self.absent.rankings)
        present = self.present.served, self.present.rankings.right == 0
        return match_figures(present, of_absent, absent_share)


def ask_products(
    client: Client, queries: Sequence[LabelledQuery], collection: str, *, concurrency: int, update: Update
) -> ProductAnswers:
    """Searches for every query, by product.

    Args:
        client: Shared by all threads.
        queries: One or more, one of which is for what is in the collection.
        collection: Where to search.
        concurrency: Queries under way at the same time.
        update: Called with how many are done.
    """

    def one(query: LabelledQuery) -> SearchResult:
        asked: dict[str, Any] = {"item_id": query.item_id}
        if query.image_path:
            asked = {"image": query.image_path}
        return client.search(**asked, k=DEPTH + 1, collection=collection, timeout_seconds=_TIMEOUT_SECONDS)

    return _answers(queries, ask_each(one, queries, concurrency, update))


def _answers(queries: Sequence[LabelledQuery], results: Sequence[SearchResult]) -> ProductAnswers:
    pairs = list(zip(queries, results, strict=True))
    present = _answered([pair for pair in pairs if pair[0].product_id])
    absent = _answered([pair for pair in pairs if not pair[0].product_id])
    share = len(absent.folds) / len(pairs)
    if not absent.folds:
        absent = Answered(present.rankings.without_the_right_one(), present.folds)
    return ProductAnswers(present, absent, share, results[0].model_version)


def _answered(pairs: Sequence[tuple[LabelledQuery, SearchResult]]) -> Answered:
    scores = np.full((len(pairs), DEPTH + 1), -np.inf, dtype=np.float32)
    right = np.full(len(pairs), NOBODY, dtype=np.int64)
    served = np.zeros(len(pairs))
    folds = []
    for row, (query, result) in enumerate(pairs):
        products = [hit.product_id for hit in result.hits]
        scores[row, : len(products)] = [hit.score for hit in result.hits]
        if query.product_id and query.product_id in products:
            right[row] = products.index(query.product_id)
        if result.hits:
            probability = result.hits[0].match_probability
            served[row] = np.nan if probability is None else probability
        folds.append(product_fold(query.product_id, FOLDS) if query.product_id else row % FOLDS)
    return Answered(ProductRankings(scores, right), folds, served)
