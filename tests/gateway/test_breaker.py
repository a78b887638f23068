from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.breaker import Breaker
from gateway.patience import Patience


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _breaker(clock: Clock) -> tuple[Breaker, list[bool]]:
    changes: list[bool] = []
    return Breaker(clock, changes.append, calls=3, seconds=2.0), changes


def test_opens_after_several_calls_over_some_time_and_closes_with_an_answer() -> None:
    clock = Clock()
    breaker, changes = _breaker(clock)
    for seconds in (0.0, 1.0):
        clock.now = 100.0 + seconds
        breaker.unanswered(sent_at=100.0)
    clock.now = 101.9
    breaker.unanswered(sent_at=101.0)
    assert not breaker.is_open, "three calls, but not for long enough"
    clock.now = 102.0
    breaker.unanswered(sent_at=101.5)
    assert breaker.is_open
    breaker.unanswered(sent_at=101.6)
    breaker.answered()
    assert not breaker.is_open
    assert changes == [True, False]


def test_calls_that_were_under_way_together_are_one_silence() -> None:
    clock = Clock()
    breaker, _ = _breaker(clock)
    for sent_at in (100.0, 100.1, 100.2):
        clock.now = sent_at + 0.3
        breaker.unanswered(sent_at)
    assert (breaker.given_up, breaker.silences) == (3, 1)
    breaker.unanswered(sent_at=100.35)
    assert breaker.silences == 2
    clock.now = 101.0
    breaker.unanswered(sent_at=100.4)
    assert breaker.silences == 2
    breaker.answered()
    assert (breaker.given_up, breaker.silences) == (0, 0)


async def test_one_call_at_a_time_goes_on_after_it_was_given_up() -> None:
    breaker, _ = _breaker(Clock())
    first, second = (asyncio.ensure_future(asyncio.Event().wait()) for _ in range(2))
    assert breaker.keeps(first)
    assert not breaker.keeps(second)
    first.cancel()
    await asyncio.wait({first})
    assert breaker.keeps(second)
    second.cancel()


def test_one_impatient_caller_does_not_open_it() -> None:
    clock = Clock()
    breaker, _ = _breaker(clock)
    for tenth in range(100):
        clock.now = 100.0 + tenth / 10
        breaker.unanswered(sent_at=clock.now - 0.001)
        if tenth % 10 == 0:
            breaker.answered()  # the probe of each second
    assert not breaker.is_open


def test_slow_calls_older_than_the_last_answer_do_not_open_it() -> None:
    clock = Clock()
    breaker, _ = _breaker(clock)
    clock.now = 109.5
    breaker.answered()
    clock.now = 110.0
    for _ in range(5):
        breaker.unanswered(sent_at=100.0)
    assert not breaker.is_open


async def test_calls_that_wait_end_when_it_opens() -> None:
    clock = Clock()
    breaker, _ = _breaker(clock)

    async def hang() -> None:
        await asyncio.Event().wait()

    waiting = asyncio.create_task(hang())
    breaker.watch(waiting)
    clock.now = 103.0
    for _ in range(3):
        breaker.unanswered(sent_at=100.0)
    await asyncio.wait({waiting}, timeout=5)
    assert waiting.cancelled()


@given(st.lists(st.floats(1e-4, 0.5), min_size=1, max_size=600))
def test_grace_is_twice_the_recent_p99_and_usual_is_the_p90(seconds: list[float]) -> None:
    patience = Patience()
    for one in seconds:
        patience.answered("search", one)
    # The figure may be as old as the last 31 answers.
    recent = [seconds[: len(seconds) - stale][-256:] for stale in range(min(32, len(seconds)))]
    allowed = [max(0.02, 2 * sorted(window)[-(-99 * len(window) // 100) - 1]) for window in recent]
    assert patience.grace_seconds("search") in allowed
    assert patience.grace_seconds("apply") == pytest.approx(0.02)
    assert patience.usual_seconds("search") in [
        sorted(window)[math.ceil(0.9 * len(window)) - 1] for window in recent
    ]
    assert patience.usual_seconds("apply") == 0


def test_patience_forgets_what_was_slow_once() -> None:
    patience = Patience()
    for seconds in [5.0] * 100 + [0.001] * 512:
        patience.answered("search", seconds)
    assert patience.grace_seconds("search") == pytest.approx(0.02)
