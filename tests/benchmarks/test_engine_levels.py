from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.engine.levels import Point, best_rate_at, front, rate_at, worth_repeating

points = st.lists(
    st.builds(
        Point,
        recall=st.floats(0, 1),
        rate=st.floats(1, 1e6),
        name=st.text("abc", max_size=2),
    ),
    min_size=1,
    max_size=12,
)


def test_log_rate_is_linear_in_recall_between_two_points() -> None:
    low, high = Point(0.90, 10_000, "low"), Point(1.00, 100, "high")
    rate = rate_at([high, low], 0.95)
    assert rate.value == pytest.approx(1_000)
    assert rate.between == ("low", "high")


def test_a_point_on_the_level_counts_as_it_is() -> None:
    rate = rate_at([Point(0.9, 50, "a"), Point(0.95, 40, "b"), Point(0.99, 30, "c")], 0.95)
    assert rate.value == 40
    assert rate.between == ("b",)


def test_dominated_points_are_not_interpolated() -> None:
    slow = Point(0.94, 10)
    curve = [Point(0.90, 10_000), Point(1.00, 100)]
    assert rate_at([*curve, slow], 0.95).value == rate_at(curve, 0.95).value == pytest.approx(1_000)


@pytest.mark.parametrize(
    ("recalls", "reason"), [((0.5, 0.94), "not reached"), ((0.96, 0.99), "all settings are above")]
)
def test_nothing_is_extrapolated(recalls: tuple[float, ...], reason: str) -> None:
    rate = rate_at([Point(recall, 100 - recall) for recall in recalls], 0.95)
    assert rate.value is None
    assert rate.between == (reason,)
    # The fastest setting of a curve that lies above the level is a bound.
    assert rate.at_least == (100 - recalls[0] if recalls[0] > 0.95 else None)


@given(points, st.floats(0, 1))
def test_a_rate_lies_between_its_bracketing_pareto_points(measured: list[Point], level: float) -> None:
    rate = rate_at(measured, level)
    curve = front(measured)
    if rate.value is None:
        assert all(p.recall < level for p in curve) or all(p.recall > level for p in curve)
        return
    slowest = max(p.rate for p in curve if p.recall >= level)
    fastest = min(p.rate for p in curve if p.recall <= level)
    assert slowest * (1 - 1e-9) <= rate.value <= max(slowest, fastest) * (1 + 1e-9)


@given(points)
def test_the_front_is_what_no_point_dominates(measured: list[Point]) -> None:
    curve = front(measured)
    assert all(a.recall < b.recall and a.rate > b.rate for a, b in pairwise(curve))
    for point in measured:
        assert any(p.recall >= point.recall and p.rate >= point.rate for p in curve)


def test_another_index_of_an_engine_never_lowers_its_rate() -> None:
    good, worse = [Point(0.97, 16.0), Point(0.99, 4.0)], [Point(0.981, 4.1)]
    assert rate_at(good + worse, 0.98).value == pytest.approx(4.64, abs=0.01)
    found = best_rate_at([good, worse], 0.98)
    assert found.value == pytest.approx(8.0)
    # Only two indexes together may lie around a level.
    assert best_rate_at([[good[0]], [good[1]]], 0.98).value == pytest.approx(8.0)
    assert best_rate_at([good, worse], 0.995).between == ("not reached",)
    assert best_rate_at([good, worse], 0.9).at_least == 16.0


@given(points, st.floats(1, 3))
def test_screening_keeps_the_front(measured: list[Point], slack: float) -> None:
    kept = {p for p, keep in zip(measured, worth_repeating(measured, slack), strict=True) if keep}
    assert set(front(measured)) <= kept


def test_screening_drops_what_is_clearly_worse() -> None:
    measured = [Point(0.95, 1_000), Point(0.95, 850), Point(0.94, 700)]
    assert worth_repeating(measured, 1.25) == [True, True, False]
