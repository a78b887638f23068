from __future__ import annotations

import asyncio

from gateway.breaker import Breaker


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
