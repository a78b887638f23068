from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.evaluation.bootstrap import paired_bootstrap
from lookalike.errors import InvalidInputError

VALUES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=40)
@given(VALUES, st.booleans(), st.integers(0, 5))
def test_the_interval_equals_a_naive_version(
    rows: list[tuple[int, int, int]], by_group: bool, seed: int
) -> None:
    a, b = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows], float)
    groups = [r[2] for r in rows] if by_group else None
    found = paired_bootstrap(a, b, groups=groups, resamples=50, seed=seed)
    units = [[i] for i in range(len(rows))]
    if groups:
        units = [[i for i, other in enumerate(groups) if other == g] for g in dict.fromkeys(groups)]
    random = np.random.default_rng(seed)
    means = []
    for drawn in random.integers(len(units), size=(50, len(units))):
        picked = [i for unit in drawn for i in units[unit]]
        means.append(np.mean([a[i] for i in picked]) - np.mean([b[i] for i in picked]))
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_a_clear_difference_is_not_taken_for_chance() -> None:
    random = np.random.default_rng(0)
    hardness = random.random(200)
    noise = random.normal(0, 0.1, 200)
    better = paired_bootstrap(hardness + 0.1 + noise, hardness)
    assert 0.05 < better.low < better.difference < better.high < 0.15
    same = paired_bootstrap(hardness + noise - noise.mean(), hardness)
    assert same.low < 0 < same.high


@settings(deadline=None, max_examples=20)
@given(VALUES)
def test_swapping_the_systems_turns_the_interval_around(rows: list[tuple[int, int, int]]) -> None:
    a, b = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows], float)
    one, other = paired_bootstrap(a, b, resamples=40), paired_bootstrap(b, a, resamples=40)
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))


def test_queries_of_one_product_make_the_interval_wider() -> None:
    by_product = np.random.default_rng(0).integers(0, 2, 20).repeat(10).astype(float)
    groups = np.arange(20).repeat(10).tolist()
    zero = np.zeros(200)
    single, grouped = paired_bootstrap(by_product, zero), paired_bootstrap(by_product, zero, groups=groups)
    assert grouped.high - grouped.low > 2 * (single.high - single.low)


def test_queries_without_truth_do_not_count() -> None:
    a, b = np.array([1.0, np.nan, 1.0]), np.array([0.0, np.nan, 0.0])
    assert paired_bootstrap(a, b, groups=["x", "y", "z"]).difference == 1
    with pytest.raises(InvalidInputError, match="nothing to compare"):
        paired_bootstrap(np.array([np.nan]), np.array([np.nan]))


def test_other_queries_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="same queries"):
        paired_bootstrap(np.zeros(3), np.zeros(4))
    with pytest.raises(InvalidInputError, match="same queries"):
        paired_bootstrap(np.zeros(3), np.zeros(3), groups=["x"])


def test_resampling_in_parts_gives_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = np.random.default_rng(1).random((2, 30))
    whole = paired_bootstrap(a, b, resamples=100)
    monkeypatch.setattr("embedder.evaluation.bootstrap._DRAWS_AT_ONCE", 900)
    assert paired_bootstrap(a, b, resamples=100) == whole
