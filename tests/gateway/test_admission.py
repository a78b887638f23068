from __future__ import annotations

import asyncio

import pytest

from gateway.admission import Admission
from gateway.deadline import Deadline
from lookalike.errors import DeadlineError, OverloadedError


async def test_runs_some_lets_some_wait_and_refuses_the_rest() -> None:
    admission = Admission("searches", max_running=2, max_waiting=1)
    release, running, most = asyncio.Event(), 0, 0

    async def hold() -> None:
        nonlocal running, most
        async with admission.slot(Deadline(5)):
            running += 1
            most = max(most, running)
            await release.wait()
            running -= 1

    tasks = [asyncio.create_task(hold()) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="too many searches") as caught:
        await hold()
    assert caught.value.retry_after_seconds > 0
    release.set()
    await asyncio.gather(*tasks)
    assert most == 2
    async with admission.slot(Deadline(5)):
        pass


async def test_one_whose_turn_does_not_come_is_refused_and_frees_its_place() -> None:
    admission = Admission("writes", max_running=1, max_waiting=1)
    async with admission.slot(Deadline(5)):
        for _ in range(3):
            with pytest.raises(OverloadedError):
                async with admission.slot(Deadline(0.01)):
                    pytest.fail("admitted")
    async with admission.slot(Deadline(5)):
        pass


async def test_a_failure_inside_frees_the_slot() -> None:
    admission = Admission("writes", max_running=1, max_waiting=0)
    for _ in range(2):
        with pytest.raises(ValueError, match="inside"):
            async with admission.slot(Deadline(5)):
                raise ValueError("inside")


def test_deadlines_are_capped_and_defaulted() -> None:
    assert 59 < Deadline(1e9).remaining_seconds() <= 60
    assert 9 < Deadline(None).remaining_seconds() <= 10
    with pytest.raises(DeadlineError, match="before embedding"):
        Deadline(0).call_timeout_seconds("embedding")


@pytest.mark.parametrize(("seconds", "kept"), [(60, 0.1), (2, 0.1), (0.5, 0.025), (0.05, 0.005)])
def test_time_to_answer_is_kept_back(seconds: float, kept: float) -> None:
    assert Deadline(seconds).call_timeout_seconds("x") <= seconds - kept
