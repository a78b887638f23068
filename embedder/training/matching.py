"""Calibrates how likely hits are right, on products that the searching network was not trained on.

A network knows the products that it was trained on too well: their photos lie closer together than those of
a new product will. So the searches that a calibration is fitted to are for others: for validation rows of
products that were held out, or for all rows by cross-fitting, where the head is trained again for each fold
of the products, without it. What is searched is the catalogue's index where that shows the products, else the
training photos, each without itself. Every search is also taken as one for a product that is not there, by
leaving its own out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.evaluation.calibration import (
    FOLDS,
    LEAST_SEARCHES,
    fit_calibration,
    held_out_best_hits,
)
from embedder.evaluation.products import ProductRankings, joined, rank_products
from embedder.evaluation.reliability import match_figures
from embedder.evaluation.search import NOBODY
from embedder.model.heads import EmbeddingHead
from embedder.training.run import Progress, TrainingRun
from lookalike.catalogue.catalog import CatalogItem, product_fold
from lookalike.errors import InvalidInputError
from lookalike.matching import DEPTH, MatchCalibration

_ENOUGH_SEARCHES = 4000
"""Folds beyond so many searches are left out: one more head would be trained for little."""
_FROM_HELD_OUT = 200
"""Searches for held-out products from which on no head is trained again."""
_MOST_ROWS, _MOST_PHOTOS = 20_000, 4_000
"""Of what is searched, with cached features and where each photo must be encoded."""
_LEAST_ROWS = 2
_CROSSED_FOLDS = 3
"""Heads that are trained again: more cost more, and fewer see too few products."""
_FOLD_SEED = 1
"""Another than that of ``--split-by-product``, whose folds would leave some of these empty."""

_Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Matched:
    """What came of it.

    Attributes:
        calibration: For the bundle; None if there is none.
        how: Where the searches came from, or why there is no calibration.
        present: The probabilities of the best hits of searches for what is there, by calibrations fitted to
            searches for other products, ``(Q,)`` float64.
        right: Whether those hits are right, ``(Q,)`` bool.
        absent: The same searches where the product is not there, ``(Q,)`` float64.
    """

    calibration: MatchCalibration | None
    how: str
    present: npt.NDArray[np.float64]
    right: npt.NDArray[np.bool_]
    absent: npt.NDArray[np.float64]

    def figures(self) -> dict[str, Any]:
        """Returns what :func:`.match_figures` says of them; only where there is a calibration."""
        return match_figures((self.present, self.right), self.absent)


@dataclass(frozen=True, slots=True)
class Asked:
    """Some searches, and the product of each."""

    rankings: ProductRankings
    products: Sequence[str]

    def __len__(self) -> int:
        return len(self.products)


def calibrate_matches(run: TrainingRun, head: EmbeddingHead, progress: Progress) -> Matched:
    """Calibrates the probabilities of a trained network.

    Args:
        run: The run that trained it.
        head: Its head.
        progress: Called with the folds of the products that are done.
    """
    asked, how = searches_for_new_products(run, head, progress)
    if not len(asked):
        return _none(how)
    present = asked.rankings
    absent = present.without_the_right_one()
    folds = [product_fold(product, FOLDS, _FOLD_SEED) for product in asked.products]
    try:
        (best, right), gone = held_out_best_hits(present, absent, (folds, folds))
        return Matched(fit_calibration(present, absent), how, best, right, gone)
    except InvalidInputError as error:
        return _none(error.message)


def searches_for_new_products(run: TrainingRun, head: EmbeddingHead, progress: Progress) -> tuple[Asked, str]:
    """Searches for products that the searching network was not trained on; see :func:`calibrate_matches`.

    Returns:
        The searches, DEPTH + 1 products deep, and where they come from; or none, and why.
    """
    config = run.config
    if not config.match_calibration:
        return _NO_SEARCHES, "the setting match_calibration is off"
    if config.identity == "pseudo":
        return _NO_SEARCHES, "it needs products' ids, which identity pseudo says are not to be relied on"
    searches = _Searches(run, progress)
    held_out = searches.for_held_out(head)
    if len(held_out) >= _FROM_HELD_OUT or (config.fine_tune and len(held_out) >= LEAST_SEARCHES):
        return held_out, f"{len(held_out)} searches for products held out"
    if config.fine_tune:
        return _NO_SEARCHES, "a fine-tuned network needs products held out: give --hold-out 0.1"
    crossed = searches.cross_fitted(head)
    if not len(crossed):
        return _NO_SEARCHES, "no product has two photos, or one in the index"
    return crossed, f"{len(crossed)} searches, each by a network that was not trained on its product"


_NO_SEARCHES = Asked(ProductRankings(np.empty((0, DEPTH + 1), np.float32), np.empty(0, np.int64)), ())


class _Searches:
    def __init__(self, run: TrainingRun, progress: Progress) -> None:
        self._run = run
        self._progress = progress
        self._most_rows = _MOST_PHOTOS if run.config.fine_tune else _MOST_ROWS

    def for_held_out(self, head: EmbeddingHead) -> Asked:
        """Searches for validation rows whose products the network was not trained on."""
        run = self._run
        trained = {item.product_id for item in run.rows.items}
        held_out = run.held_out.items if run.held_out else []
        items = [item for item in held_out if item.product_id not in trained]
        return self._asked(head, items, [*items, *run.rows.items])

    def cross_fitted(self, head: EmbeddingHead) -> Asked:
        """Searches for training rows, each by a network that was trained without its product."""
        parts = [_NO_SEARCHES, *self._folds(head)]
        return Asked(joined([part.rankings for part in parts]), [p for part in parts for p in part.products])

    def _folds(self, head: EmbeddingHead) -> Iterator[Asked]:
        items, searches = self._run.rows.items, 0
        if self._run.config.is_backbone_alone:  # trained on nothing
            yield self._asked(head, items, items)
            return
        folds = np.array([product_fold(item.product_id, _CROSSED_FOLDS, _FOLD_SEED) for item in items])
        for fold in range(_CROSSED_FOLDS):
            self._progress("calibrate", fold, _CROSSED_FOLDS, {})
            own, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            if searches < _ENOUGH_SEARCHES and len(own) and len(rest) >= _LEAST_ROWS:
                trained, _ = self._run.only(rest).train()
                asked = self._asked(trained, [items[row] for row in own.tolist()], items)
                searches += len(asked)
                yield asked
        self._progress("calibrate", _CROSSED_FOLDS, _CROSSED_FOLDS, {})

    def _asked(
        self, head: EmbeddingHead, queries: Sequence[CatalogItem], photos: Sequence[CatalogItem]
    ) -> Asked:
        """Searches for rows whose product something else shows: in the index, or among some photos."""
        run = self._run
        queries = queries[:: max(1, -(-len(queries) // _ENOUGH_SEARCHES))]
        products = {one.product_id for one in queries}
        index: list[CatalogItem] = []
        if _shows(run.index, queries):
            index = run.readable(_thinned(run.index, products, self._most_rows))
        if not _shows(index, queries):
            index = _thinned(photos, products, self._most_rows)
        counts = Counter(item.product_id for item in index)
        indexed = {item.item_id for item in index}
        asked = [one for one in queries if counts[one.product_id] > (one.item_id in indexed)]
        if not asked:
            return _NO_SEARCHES
        place = {item.item_id: row for row, item in enumerate(index)}
        rankings = rank_products(
            run.embeddings(head, asked),
            [item.product_id for item in asked],
            run.embeddings(head, index),
            [item.product_id for item in index],
            DEPTH + 1,
            np.array([place.get(item.item_id, NOBODY) for item in asked]),
        )
        return Asked(rankings, [item.product_id for item in asked])


def _shows(index: Sequence[CatalogItem], queries: Sequence[CatalogItem]) -> bool:
    """Whether an index shows at least half of what is searched for."""
    products = {item.product_id for item in index}
    return bool(products) and 2 * sum(one.product_id in products for one in queries) >= len(queries)


def _thinned(rows: Sequence[CatalogItem], wanted: Set[str], most: int) -> list[CatalogItem]:
    """Returns the rows of some products, and of the others as many as there is room for, spread over all."""
    kept = [item for item in rows if item.product_id in wanted]
    others = [item for item in rows if item.product_id not in wanted]
    room = max(most - len(kept), 1)
    return [*kept, *others[:: max(1, -(-len(others) // room))]]


def _none(why: str) -> Matched:
    return Matched(None, why, np.empty(0), np.empty(0, bool), np.empty(0))
