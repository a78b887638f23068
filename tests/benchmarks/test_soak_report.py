"""What is wrong after a soak: failures that no kill explains, losses, what is left and what grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.soak.callers import Outcome
from benchmarks.soak.report import problems, report
from benchmarks.soak.run import Kill, Plan, Soaked
from benchmarks.soak.searches import Slice
from benchmarks.soak.trends import Slope, Trend

PLAN = Plan(
    seconds=600.0,
    items=1000,
    dim=16,
    share=0.7,
    cancelled=0.1,
    items_written=100.0,
    kill_seconds=180.0,
    around_seconds=5.0,
    warm_up_seconds=100.0,
    sample_seconds=10.0,
    capacity_seconds=5.0,
)
KILLED, RESTORED = 200.0, 204.0
EXPLAINED_UNTIL = RESTORED + PLAN.around_seconds


def a_slice(*, around_kill: bool = False, failed: dict[str, int] | None = None) -> Slice:
    lost = sum((failed or {}).values())
    return Slice(0.0, 10.0, around_kill, 100, 90 - lost, 10, lost, 2.0, 9.0, 0.1, failed or {})


def soaked(**more: Any) -> Soaked:
    found = {"slices": [a_slice(), a_slice(around_kill=True)], "kills": [Kill(KILLED, RESTORED)]} | more
    return Soaked(PLAN, 1000.0, 700.0, **found)


def trend(grows: bool | None) -> Trend:
    return Trend("gateway", "anonymous MB", 100, 50.0, 1234.5, Slope(9.0, 8.0, 10.0), grows)


def test_a_soak_in_which_all_went_well_has_no_problems() -> None:
    fine = [Outcome("search", 1.0, 1.1, "ok"), Outcome("search", 2.0, 2.1, "cancelled")]
    assert problems(soaked(cancelling=fine, writing=fine[:1]), [trend(False), trend(None)]) == []


def test_searches_may_fail_in_slices_around_a_kill_alone() -> None:
    failed = {"UNAVAILABLE": 2, "UNSENT": 1}
    assert not problems(soaked(slices=[a_slice(around_kill=True, failed=failed)]), [])
    (problem,) = problems(soaked(slices=[a_slice(failed=failed), a_slice(failed=failed)]), [])
    assert problem == "searches failed that no kill explains: UNAVAILABLE 4, UNSENT 2"


@pytest.mark.parametrize(
    ("began", "ended", "explained"),
    [
        (100.0, 101.0, False),
        (198.0, 198.9, False),
        (150.0, KILLED, True),  # It was under way.
        (KILLED + 1, KILLED + 2, True),
        (EXPLAINED_UNTIL, EXPLAINED_UNTIL + 60, True),
        (EXPLAINED_UNTIL + 0.1, EXPLAINED_UNTIL + 0.2, False),
    ],
)
@pytest.mark.parametrize("whose", ["cancelling", "writing"])
def test_calls_may_fail_that_were_under_way_around_a_kill(
    whose: str, began: float, ended: float, explained: bool
) -> None:
    found = soaked(**{whose: [Outcome("call", began, ended, "UNAVAILABLE")]})
    assert found.explained(began, ended) is explained
    assert ["failed that no kill explains: UNAVAILABLE 1" in one for one in problems(found, [])] == [True] * (
        not explained
    )


def test_without_a_kill_nothing_is_explained() -> None:
    assert problems(soaked(kills=[], writing=[Outcome("upsert", KILLED, KILLED, "OVERLOADED")]), [])


@pytest.mark.parametrize(
    ("more", "trends", "problem"),
    [
        ({"lost": ["item-7", "item-9"]}, [], "2 acknowledged writes are lost, such as item-7"),
        ({"ended": {"hasher-0": "no memory"}}, [], "hasher-0 has ended by itself; it said last: no memory"),
        (
            {"left": {"gateway": {"lookalike_calls_in_progress": 1.0}}},
            [],
            "gateway still has calls in progress: {'lookalike_calls_in_progress': 1.0}",
        ),
        ({}, [trend(None), trend(True)], "anonymous MB of gateway grow: 50 to 1,234.5"),
    ],
)
def test_what_else_must_not_be(more: dict[str, Any], trends: Sequence[Trend], problem: str) -> None:
    assert problems(soaked(**more), trends) == [problem]


def test_the_tables_count_around_kills_and_outside() -> None:
    found = soaked(
        slices=[a_slice(), a_slice(), a_slice(around_kill=True, failed={"UNAVAILABLE": 3})],
        writing=[
            Outcome("upsert", 1.0, 1.5, "ok"),
            Outcome("upsert", KILLED, KILLED + 1, "UNAVAILABLE"),
            Outcome("deletion", 2.0, 2.5, "ok"),
        ],
    )
    text = report(found, [trend(True), Trend("hasher-1", "threads", 1, 9.0, 9.0, None, None)])
    assert "1 kills, away for 4.0 to 4.0 s" in text
    assert "| until 5 s after a kill | 100 | 87 | 10 | 3 | 3 | UNAVAILABLE 3 | 2.0 | 9.0 |" in text
    assert "| outside | 200 | 180 | 20 | 0 | 0 | none | 2.0 | 9.0 |" in text
    assert "| upserts | UNAVAILABLE 1 | ok 1 |" in text
    assert "| deletions | none | ok 1 |" in text
    assert "| gateway | anonymous MB | 100 | 50 | 1,234.5 | +9.0 | +8.0 to +10.0 | yes |" in text
    assert "| hasher-1 | threads | 1 | 9 | 9 | - | - | - |" in text
