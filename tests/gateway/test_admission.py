from __future__ import annotations

import asyncio

import pytest

from gateway.admission import Admission
from gateway.deadline import Deadline
from gateway.metrics import GatewayMetrics
from lookalike.errors import DeadlineError, OverloadedError
from lookalike.runtime.metrics import Metrics


@pytest.fixture
def registry() -> Metrics:
    return Metrics()


@pytest.fixture
def metrics(registry: Metrics) -> GatewayMetrics:
    return GatewayMetrics(registry)


async def test_runs_some_lets_some_wait_and_refuses_the_rest(
    metrics: GatewayMetrics, registry: Metrics
) -> None:
    admission = Admission("searches", 2, 1, metrics)
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
    sample, labels = registry.registry.get_sample_value, {"what": "searches"}
    shown = [sample(f"lookalike_gateway_{name}_requests", labels) for name in ("running", "waiting")]
    assert shown == [2, 1]
    assert sample("lookalike_gateway_refused_total", labels | {"cause": "full"}) == 1
    assert admission.is_busy
    release.set()
    await asyncio.gather(*tasks)
    assert most == 2
    async with admission.slot(Deadline(5)):
        pass


async def test_one_whose_turn_does_not_come_is_late_and_frees_its_place(
    metrics: GatewayMetrics, registry: Metrics
) -> None:
    admission = Admission("writes", 1, 1, metrics)
    async with admission.slot(Deadline(5)):
        for _ in range(3):
            with pytest.raises(DeadlineError, match="waited behind other writes"):
                async with admission.slot(Deadline(0.01)):
                    pytest.fail("admitted")
    late = {"what": "writes", "cause": "late"}
    assert registry.registry.get_sample_value("lookalike_gateway_refused_total", late) == 3
    assert not admission.is_busy
    async with admission.slot(Deadline(5)):
        pass


async def test_a_failure_inside_frees_the_slot(metrics: GatewayMetrics) -> None:
    admission = Admission("writes", 1, 0, metrics)
    for _ in range(2):
        with pytest.raises(ValueError, match="inside"):
            async with admission.slot(Deadline(5)):
                raise ValueError("inside")


def test_deadlines_are_capped_and_defaulted() -> None:
    assert 59 < Deadline(1e9).remaining_seconds() <= 60
    assert 9 < Deadline(None).remaining_seconds() <= 10
    with pytest.raises(DeadlineError, match="before embedding"):
        Deadline(0).call_timeout_seconds("embedding")


def test_a_stage_may_take_its_share_of_the_time_left() -> None:
    whole, part = (Deadline(10).call_timeout_seconds("x", share) for share in (1.0, 0.5))
    assert part == pytest.approx(whole / 2, rel=1e-3)


@pytest.mark.parametrize(("seconds", "kept"), [(60, 0.1), (2, 0.1), (0.5, 0.025), (0.05, 0.005)])
def test_time_to_answer_is_kept_back(seconds: float, kept: float) -> None:
    assert Deadline(seconds).call_timeout_seconds("x") <= seconds - kept
