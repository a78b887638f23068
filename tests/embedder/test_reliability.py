from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.evaluation.reliability import match_figures, not_here, reliability

PREDICTIONS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


@settings(deadline=None)
@given(PREDICTIONS, st.integers(1, 12))
def test_bins_hold_equally_many_and_all(predictions: list[tuple[float, bool]], bins: int) -> None:
    probabilities, right = (np.array(column) for column in zip(*predictions, strict=True))
    found = reliability(probabilities, right, bins=bins)
    assert found.counts.sum() == len(predictions)
    assert len(found.counts) == min(bins, len(predictions))
    assert found.counts.max() - found.counts.min() <= 1
    assert found.predicted @ found.weights == pytest.approx(probabilities.mean())
    assert found.observed @ found.weights == pytest.approx(right.mean())
    assert (np.diff(found.predicted) >= -1e-12).all()
    assert 0 <= found.error <= 1


def test_the_error_is_the_naive_one() -> None:
    probabilities = np.array([0.9, 0.2, 0.7, 0.4])
    right = np.array([True, False, False, True])
    # Bins: 0.2 and 0.4, half right; 0.7 and 0.9, half right.
    assert reliability(probabilities, right, bins=2).error == pytest.approx(
        (abs(0.3 - 0.5) + abs(0.8 - 0.5)) / 2
    )


def test_what_is_calibrated_has_a_small_error_and_what_is_not_a_large_one() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random(20_000)
    right = random.random(20_000) < probabilities
    assert reliability(probabilities, right).error < 0.02
    assert reliability(probabilities**3, right).error > 0.2


def test_not_here_counts_both_kinds_by_their_share() -> None:
    best, right = np.array([0.9, 0.3, 0.6, 0.2]), np.array([True, True, False, False])
    absent = np.array([0.1, 0.4])
    low, middle, high = not_here(best, right, absent, 0.5, (0.05, 0.35, 0.95))
    assert (low.precision, low.recall, low.lost) == (None, 0.0, 0.0)
    # Of those that are there a half, of the others a half.
    assert (middle.precision, middle.recall, middle.lost) == (0.5, 0.5, 0.5)
    assert (high.precision, high.recall, high.lost) == (0.5, 1.0, 1.0)
    (rare,) = not_here(best, right, absent, 0.1, (0.95,))
    assert rare.precision == pytest.approx(0.1)


def test_weights_count_as_so_many_predictions() -> None:
    random = np.random.default_rng(1)
    probabilities, right = random.random(2000), random.random(2000) < 0.5
    times = random.integers(1, 4, 2000)
    repeated = reliability(np.repeat(probabilities, times), np.repeat(right, times), bins=4)
    weighed = reliability(probabilities, right, times.astype(float), bins=4)
    assert weighed.error == pytest.approx(repeated.error, abs=0.005)
    assert weighed.weights == pytest.approx(repeated.weights, abs=0.005)


def test_figures_are_of_searches_for_what_is_there_and_for_what_is_not() -> None:
    figures = match_figures((np.array([0.8, 0.6]), np.array([True, False])), np.array([0.1, 0.2]))
    assert figures["queries"] == 4
    assert sum(figures["reliability"]["counts"]) == 4
    assert figures["not_here"]["0.3"] == {"precision": 1.0, "recall": 1.0, "lost": 0.0}
    rare = match_figures((np.array([0.8]), np.array([False])), np.array([0.2]), 0.1)
    assert rare["ece"] == pytest.approx(0.9 * 0.8 + 0.1 * 0.2)
