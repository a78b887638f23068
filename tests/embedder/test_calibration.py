from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.evaluation.calibration import (
    LEAST_SEARCHES,
    best_hits,
    fit_calibration,
    held_out_best_hits,
)
from embedder.evaluation.products import ProductRankings
from embedder.evaluation.reliability import reliability
from embedder.evaluation.search import NOBODY
from lookalike.errors import InvalidInputError, Reason
from lookalike.matching import DEPTH, MatchCalibration

TRUTH = MatchCalibration(18.0, 0.2, 0.6, 0.3)


def drawn(
    truth: MatchCalibration, searches: int, seed: int = 0, products: int = DEPTH + 1
) -> ProductRankings:
    """Searches whose right product is drawn by the probabilities of a calibration."""
    random = np.random.default_rng(seed)
    density = random.uniform(0.0, 0.5, searches)
    scores = density[:, None] + random.normal(0, 0.06, (searches, products)).clip(-0.3, 0.3)
    scores[:, 0] += random.uniform(0, 0.5, searches)
    scores = -np.sort(-scores, axis=1).astype(np.float32)
    shares = truth.probabilities(scores[:, :DEPTH])
    edges = np.cumsum(shares, axis=1)
    draw = random.random(searches)[:, None]
    right = np.where(draw[:, 0] < edges[:, -1], (draw > edges).sum(axis=1), NOBODY)
    return ProductRankings(scores, right)


def split(rankings: ProductRankings) -> tuple[ProductRankings, ProductRankings]:
    """Those with a right product, and those without."""
    there = rankings.right != NOBODY
    return rankings.some(np.flatnonzero(there)), rankings.some(np.flatnonzero(~there))


def test_it_finds_what_the_searches_were_drawn_by() -> None:
    present, absent = split(drawn(TRUTH, 30_000))
    share = len(absent.right) / 30_000
    found = fit_calibration(present, absent, share)
    assert found.slope == pytest.approx(TRUTH.slope, rel=0.05)
    assert found.threshold == pytest.approx(TRUTH.threshold, abs=0.02)
    assert found.density_weight == pytest.approx(TRUTH.density_weight, abs=0.05)
    assert (found.fitted_searches, found.absent_share) == (30_000, share)
    test = drawn(TRUTH, 20_000, seed=1)
    assert reliability(*best_hits(found, test)).error < 0.015


def test_few_products_are_enough() -> None:
    rankings = drawn(TRUTH, 4000, products=3)
    padded = np.full((4000, DEPTH + 1), -np.inf, np.float32)
    padded[:, :3] = rankings.scores
    present, absent = split(ProductRankings(padded, rankings.right))
    found = fit_calibration(present, absent, len(absent.right) / 4000)
    assert found.slope == pytest.approx(TRUTH.slope, rel=0.15)


def test_more_that_is_absent_makes_all_less_likely() -> None:
    present, absent = split(drawn(TRUTH, 3000))
    low, high = (fit_calibration(present, absent, share) for share in (0.2, 0.8))
    assert (best_hits(low, present)[0] > best_hits(high, present)[0]).all()


def test_searches_that_can_be_told_apart_have_a_finite_slope() -> None:
    scores = np.array([[0.9, *[0.1] * 9]] * 50 + [[0.2, *[0.1] * 9]] * 50, np.float32)
    rankings = ProductRankings(scores, np.array([0] * 50 + [NOBODY] * 50))
    found = fit_calibration(*split(rankings))
    best, _ = best_hits(found, rankings)
    assert (best[:50] > 0.95).all()
    assert (best[50:] < 0.05).all()
    assert found.slope <= 1000


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 1000),
    st.floats(-1, 1),
    st.floats(0, 1),
    st.sampled_from([0.05, 0.5, 0.95]),
)
def test_whatever_is_fitted_to_can_be_used(seed: int, noise: float, spread: float, share: float) -> None:
    random = np.random.default_rng(seed)
    scores: npt.NDArray[np.float32] = random.normal(0, spread, (120, DEPTH)).clip(-1, 1).astype(np.float32)
    scores = -np.sort(-scores, axis=1)
    right = np.where(random.random(120) < 0.5, random.integers(0, DEPTH, 120), NOBODY)
    scores[:, 0] = np.maximum(scores[:, 0], np.clip(noise + (right == 0) * 0.2, -1, 1))
    try:
        found = fit_calibration(*split(ProductRankings(scores, right)), share)
    except InvalidInputError:  # scores that tell nothing, or too few searches of a kind
        return
    probabilities = found.probabilities(scores)
    assert np.isfinite(probabilities).all()


def test_too_few_searches_are_refused() -> None:
    rankings = drawn(TRUTH, 1000)
    present, absent = split(rankings)
    few = np.arange(LEAST_SEARCHES - 1)
    for parts in ((present.some(few), absent), (present, absent.some(few))):
        with pytest.raises(InvalidInputError, match="a calibration needs 20"):
            fit_calibration(*parts)


def test_scores_that_say_nothing_are_refused() -> None:
    random = np.random.default_rng(0)
    scores = -np.sort(-random.uniform(0, 1, (400, DEPTH)), axis=1).astype(np.float32)
    # The last is right, and the others are not.
    rankings = ProductRankings(scores, np.array([DEPTH - 1, NOBODY] * 200))
    with pytest.raises(InvalidInputError, match="do not tell right products") as caught:
        fit_calibration(*split(rankings))
    assert caught.value.reason is Reason.CATALOG_INVALID


def test_held_out_figures_are_those_of_calibrations_that_never_saw_the_fold() -> None:
    rankings = drawn(TRUTH, 600)
    present = rankings.some(np.flatnonzero(rankings.right != NOBODY))
    absent = present.without_the_right_one()
    folds = np.arange(len(present.right)) % 3
    (there, right), gone = held_out_best_hits(present, absent, (folds.tolist(), folds.tolist()))
    mine, others = np.flatnonzero(folds == 1), np.flatnonzero(folds != 1)
    alone = fit_calibration(present.some(others), absent.some(others), 0.5)
    np.testing.assert_allclose(there[mine], best_hits(alone, present.some(mine))[0])
    np.testing.assert_allclose(gone[mine], best_hits(alone, absent.some(mine))[0])
    np.testing.assert_array_equal(right, present.right == 0)
