"""The adaptive limit on a made-up machine, on which requests slow each other down beyond its cores."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limit import AdaptiveLimit, FixedLimit

ALONE_SECONDS = 0.01


class Machine:
    """As many requests as the limit allows run at any time; beyond the cores each slows the others down."""

    def __init__(self, cores: float, seed: int = 0, **options: float) -> None:
        self.cores = cores
        self.now = 0.0
        self.random = random.Random(seed)
        self.alone_seconds = ALONE_SECONDS
        bounds = {"least": 2, "most": 200, "slowdown": 2.0, **options}
        self.limit = AdaptiveLimit(
            int(bounds["least"]),
            int(bounds["most"]),
            bounds["slowdown"],
            clock=lambda: self.now,
        )

    def answer(self, count: int, running: int | None = None) -> None:
        """Answers requests while so many run; None: as many as may, and more are asked for."""
        for _ in range(count):
            value = self.limit.value
            at_once = value if running is None else min(running, value)
            slowdown = max(1.0, at_once / self.cores)
            seconds = self.alone_seconds * slowdown * self.random.uniform(0.8, 1.2)
            self.now += seconds / at_once
            self.limit.ended(seconds, at_once, was_reached=at_once == value)


@pytest.mark.parametrize("cores", [2.5, 8.0, 40.0])
def test_it_settles_where_requests_take_twice_as_long_as_alone(cores: float) -> None:
    machine = Machine(cores)
    machine.answer(200, running=1)
    machine.answer(6000)
    assert 1.4 * cores <= machine.limit.value <= 2.6 * cores


def test_it_finds_that_without_having_been_idle_before() -> None:
    machine = Machine(8.0)
    machine.answer(20_000)
    assert 11 <= machine.limit.value <= 21


def test_it_follows_when_requests_become_dearer_or_cheaper_under_overload() -> None:
    machine = Machine(8.0)
    machine.answer(10_000)
    for machine.alone_seconds in (5 * ALONE_SECONDS, ALONE_SECONDS):
        machine.answer(30_000)
        assert 10 <= machine.limit.value <= 22


def test_it_does_not_move_while_there_is_room() -> None:
    machine = Machine(0.1)
    before = machine.limit.value
    machine.answer(1000, running=3)
    assert machine.limit.value == before


@given(
    st.integers(1, 20),
    st.integers(0, 50),
    st.lists(st.tuples(st.floats(1e-5, 100), st.integers(1, 80), st.booleans())),
)
def test_it_keeps_its_bounds(least: int, more: int, ends: list[tuple[float, int, bool]]) -> None:
    ticks = itertools.count()
    limit = AdaptiveLimit(least, least + more, 2.0, clock=lambda: next(ticks) / 10)
    for seconds, running, was_reached in ends * 5:
        limit.ended(seconds, running, was_reached=was_reached)
        assert least <= limit.value <= least + more


def test_a_fixed_limit_stays() -> None:
    limit = FixedLimit(3)
    limit.ended(9.0, 3, was_reached=True)
    assert limit.value == 3


def test_requests_that_may_always_run_at_once_are_not_alone() -> None:
    limit = AdaptiveLimit(8, 64, 2.0)
    for _ in range(40):
        limit.ended(1.0, 1, was_reached=False)
    for _ in range(100):
        limit.ended(3.0, 8, was_reached=True)
    assert limit.value == 8
