from __future__ import annotations

import asyncio

import pytest

from gateway.admission import Admission
from gateway.deadline import Deadline
from gateway.limit import FixedLimit
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
    admission = Admission("vector_searches", FixedLimit(2), 1, metrics)
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
    with pytest.raises(OverloadedError, match="too many vector searches") as caught:
        await hold()
    assert caught.value.retry_after_seconds > 0
    sample, labels = registry.registry.get_sample_value, {"what": "vector_searches"}
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
    admission = Admission("writes", FixedLimit(1), 1, metrics)
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
    admission = Admission("writes", FixedLimit(1), 0, metrics)
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


class Crowd:
    """Requests that hold their slots until they are let go.

    Args:
        limit: How many run at once.
        burst_seconds: For how long there may be a queue.
    """

    def __init__(self, metrics: GatewayMetrics, limit: int = 1, burst_seconds: float = 5.0) -> None:
        self.now = 0.0
        self.admission = Admission(
            "vector_searches", FixedLimit(limit), 100, metrics, burst_seconds, lambda: self.now
        )
        self.order: list[str] = []
        self.running: dict[str, asyncio.Event] = {}
        self.here = 0

    @property
    def is_full(self) -> bool:
        """Whether all who come are refused unread."""
        return self.admission.is_over and self.here >= self.admission.most

    async def ask(self, *names: str, patient: bool = False, seconds: float = 5) -> list[asyncio.Task[None]]:
        """Asks for slots."""
        tasks = [asyncio.create_task(self.hold(name, patient, seconds)) for name in names]
        await asyncio.sleep(0)
        return tasks

    async def hold(self, name: str, patient: bool = False, seconds: float = 5) -> None:
        """Asks for a slot and holds it."""
        self.here += 1
        try:
            async with self.admission.slot(Deadline(seconds), patient=patient):
                self.order.append(name)
                let_go = self.running[name] = asyncio.Event()
                await let_go.wait()
        finally:
            self.here -= 1

    async def let_go(self, *names: str) -> None:
        """Lets requests end that run."""
        for name in names:
            self.running.pop(name).set()
        for _ in range(5):
            await asyncio.sleep(0)


async def reasons(*tasks: asyncio.Task[None]) -> list[type[BaseException] | None]:
    """Waits for requests, and returns what they failed with."""
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    return [None if outcome is None else type(outcome) for outcome in outcomes]


async def test_a_burst_waits_for_its_turn_in_order(metrics: GatewayMetrics) -> None:
    crowd = Crowd(metrics, limit=2)
    tasks = await crowd.ask(*"012345")
    for pair in ("01", "23", "45"):
        await crowd.let_go(*pair)
    assert await reasons(*tasks) == [None] * 6
    assert crowd.order == list("012345")


async def test_a_queue_that_lasts_is_cut_from_its_old_end(metrics: GatewayMetrics, registry: Metrics) -> None:
    crowd = Crowd(metrics, limit=4)
    answered = await crowd.ask(*(f"answered {n}" for n in range(4)))
    held = await crowd.ask(*"held")
    old = await crowd.ask(*(f"old {n}" for n in range(5)))
    await crowd.let_go(*crowd.running)
    crowd.now = 4.0
    young = await crowd.ask("young 0", "young 1")
    crowd.now = 6.0
    assert not crowd.is_full
    # From now on as many wait as run.
    late = await crowd.ask("late")
    assert await reasons(*old[:3], *late) == [OverloadedError] * 4
    assert crowd.is_full
    message, retry_after_seconds = crowd.admission.refusal()
    assert message == "too many vector searches at once"
    assert 0.05 <= retry_after_seconds <= 5
    await crowd.let_go(*"held")
    assert not crowd.is_full
    await crowd.let_go("old 3", "old 4", "young 0", "young 1")
    assert await reasons(*answered, *held, *old[3:], *young) == [None] * 12
    sample = registry.registry.get_sample_value
    assert sample("lookalike_gateway_overloaded", {"what": "vector_searches"}) == 1
    for cause, count in (("stale", 3), ("full", 1)):
        labels = {"what": "vector_searches", "cause": cause}
        assert sample("lookalike_gateway_refused_total", labels) == count


async def test_a_queue_that_moves_on_is_no_overload(metrics: GatewayMetrics) -> None:
    crowd = Crowd(metrics)
    tasks = await crowd.ask("a") + await crowd.ask("b")
    for running, waiting in zip("abcdefghijklmnopqrstuvwx", "cdefghijklmnopqrstuvwxyz", strict=True):
        crowd.now += 0.4
        tasks += await crowd.ask(waiting)
        await crowd.let_go(running)
        assert not crowd.admission.is_over
    await crowd.let_go("y")
    await crowd.let_go("z")
    assert await reasons(*tasks) == [None] * 26


async def test_those_who_have_gone_are_not_refused(metrics: GatewayMetrics) -> None:
    crowd = Crowd(metrics)
    tasks = (await crowd.ask("answered", *"abc"))[1:]
    await crowd.let_go("answered")
    crowd.now = 6.0
    tasks.append(asyncio.create_task(crowd.hold("late")))
    # It stays in the queue until its task runs, which is after the newcomer has looked for whom to refuse.
    tasks[1].cancel()
    await asyncio.sleep(0)
    await crowd.let_go("a")
    await crowd.let_go("c")
    assert await reasons(*tasks) == [None, asyncio.CancelledError, None, OverloadedError]


async def test_where_nothing_is_answered_all_wait(metrics: GatewayMetrics) -> None:
    crowd = Crowd(metrics, limit=2)
    tasks = await crowd.ask("one", "other", *(f"waits {n}" for n in range(5)))
    crowd.now = 60.0
    tasks += await crowd.ask("late")
    assert not crowd.admission.is_over
    while crowd.running:
        await crowd.let_go(*crowd.running)
    assert await reasons(*tasks) == [None] * 8


async def overloaded(metrics: GatewayMetrics) -> tuple[Crowd, list[asyncio.Task[None]]]:
    """Returns a crowd of one that runs and one that waits, of more than can be answered."""
    crowd = Crowd(metrics)
    tasks = (await crowd.ask("answered", *"abc"))[1:]
    await crowd.let_go("answered")
    crowd.now = 6.0
    tasks += await crowd.ask("refused")
    assert crowd.is_full
    return crowd, tasks


async def test_an_overload_lasts_while_many_are_refused_unread(metrics: GatewayMetrics) -> None:
    crowd, tasks = await overloaded(metrics)
    for crowd.now, refused, lasts in ((7.5, 0, True), (9.0, 50, True), (10.5, 50, False)):
        crowd.admission.refused_unread = lambda refused=refused: refused
        await crowd.let_go(*crowd.running)
        tasks += await crowd.ask("next")
        assert crowd.admission.is_over is lasts
    while crowd.running:
        await crowd.let_go(*crowd.running)
    await reasons(*tasks)


@pytest.mark.parametrize(
    ("came", "lasts"),
    [
        pytest.param(
            [(0.0, 0.0), *((9.0, 8.0 - n / 10) for n in range(10))], False, id="while the loop stood still"
        ),
        pytest.param([(0.0, 0.0), *((1 + n / 2, 0.6) for n in range(12))], True, id="one after another"),
        pytest.param([(0.0, 0.0), (4.0, 0.5), (4.4, 0.001), (9.5, 0.5)], False, id="one at once in between"),
        pytest.param([(0.0, 0.0), (600.0, 0.5), (1200.0, 0.5)], False, id="nobody in between"),
    ],
)
async def test_a_wait_for_the_event_loop_that_lasts_is_an_overload(
    metrics: GatewayMetrics, came: list[tuple[float, float]], lasts: bool
) -> None:
    crowd = Crowd(metrics, limit=4)
    for crowd.now, waited_seconds in came:
        assert not crowd.admission.is_over
        async with crowd.admission.slot(Deadline(5, waited_seconds)):
            pass
    assert crowd.admission.is_over is lasts


async def test_the_searches_of_one_call_have_waited_for_the_event_loop_once(metrics: GatewayMetrics) -> None:
    crowd = Crowd(metrics)
    call = Deadline(5, waited_seconds=60)
    for _ in range(3):
        async with crowd.admission.slot(call, patient=True):
            assert not crowd.admission.is_over
    assert crowd.admission._mean_seconds == 0


async def test_an_overload_lasts_while_many_are_refused(metrics: GatewayMetrics) -> None:
    crowd, tasks = await overloaded(metrics)
    crowd.now = 7.5
    tasks += await crowd.ask("also refused")
    crowd.now = 9.0
    tasks += await crowd.ask("refused, too")
    assert crowd.is_full
    await crowd.let_go("a")
    await crowd.let_go("c")
    assert await reasons(*tasks) == [None, OverloadedError, None, *[OverloadedError] * 3]


async def test_an_overload_is_over_when_nobody_had_to_wait_for_a_while(metrics: GatewayMetrics) -> None:
    crowd, tasks = await overloaded(metrics)
    await crowd.let_go("a")
    await crowd.let_go("c")
    crowd.now = 9.0
    burst = await crowd.ask(*"efgh")
    assert not crowd.is_full
    for name in "efgh":
        await crowd.let_go(name)
    assert await reasons(*burst) == [None] * 4
    await reasons(*tasks)


async def test_an_overload_is_over_when_nobody_asks_any_more(
    metrics: GatewayMetrics, registry: Metrics
) -> None:
    crowd, tasks = await overloaded(metrics)
    await crowd.let_go("a")
    await crowd.let_go("c")
    await reasons(*tasks)
    shown = []
    for crowd.now in (7.5, 8.5):
        labels = {"what": "vector_searches"}
        shown.append(registry.registry.get_sample_value("lookalike_gateway_overloaded", labels))
    assert shown == [1, 0]


async def test_those_who_are_patient_wait_and_get_their_share(metrics: GatewayMetrics) -> None:
    crowd = Crowd(metrics)
    tasks = await crowd.ask("first")
    tasks += await crowd.ask("patient 0", "patient 1", patient=True)
    tasks += await crowd.ask(*(f"other {n}" for n in range(7)))
    assert crowd.admission.is_busy
    for _ in range(10):
        await crowd.let_go(*crowd.running)
    assert await reasons(*tasks) == [None] * 10
    places = [place for place, name in enumerate(crowd.order) if name.startswith("patient")]
    assert places[1] - places[0] == 4


async def test_who_is_patient_waits_longer_than_a_burst_takes(metrics: GatewayMetrics) -> None:
    crowd = Crowd(metrics, burst_seconds=0.01)
    tasks = await crowd.ask("first")
    tasks += await crowd.ask("patient", patient=True, seconds=30)
    tasks += await crowd.ask("late", patient=True, seconds=0.03)
    await asyncio.sleep(0.06)
    await crowd.let_go("first")
    await crowd.let_go("patient")
    assert await reasons(*tasks) == [None, None, DeadlineError]


async def test_a_turn_that_comes_as_its_request_goes_is_passed_on(metrics: GatewayMetrics) -> None:
    crowd = Crowd(metrics)
    tasks = await crowd.ask(*"abc")
    crowd.running.pop("a").set()
    await asyncio.sleep(0)
    tasks[1].cancel()
    await crowd.let_go()
    await crowd.let_go("c")
    assert await reasons(*tasks) == [None, asyncio.CancelledError, None]
    assert not crowd.admission.is_busy
