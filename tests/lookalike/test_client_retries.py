"""What the client tries again, what it does not, and which error it raises in the end."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from lookalike.client import calls
from lookalike.client.retries import MAX_ATTEMPTS, Attempts, Throttle
from lookalike.errors import (
    DeadlineError,
    InvalidInputError,
    LookalikeError,
    OverloadedError,
    Reason,
    UnavailableError,
)
from lookalike.wire.status import DETAILS_KEY, PUSHBACK_KEY, code_of, status_of

SHARD_DOWN = UnavailableError("shard 1 cannot be reached")


def failure(error: LookalikeError | grpc.StatusCode, *trailing: tuple[str, Any]) -> grpc.RpcError:
    """A failed call, described by a server or of gRPC's own."""
    if isinstance(error, grpc.StatusCode):
        return grpc.aio.AioRpcError(error, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), error.name)
    details = (DETAILS_KEY, status_of(error).SerializeToString())
    metadata = grpc.aio.Metadata(details, *trailing)
    return grpc.aio.AioRpcError(code_of(error), grpc.aio.Metadata(), metadata, error.message)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def attempts(clock: Clock, *, seconds: float = 10.0, throttle: Throttle | None = None, **options: Any) -> Any:
    settings = {"repeatable": True, "clock": clock, **options}
    return Attempts("here:1", seconds, throttle or Throttle(), **settings)


def test_an_unavailable_server_is_tried_four_times_with_growing_pauses(clock: Clock) -> None:
    tries = attempts(clock)
    delays = [tries.failed(failure(SHARD_DOWN)) for _ in range(MAX_ATTEMPTS - 1)]
    assert [round(delay / base, 9) for delay, base in zip(delays, (0.1, 0.2, 0.4), strict=True)] == [
        pytest.approx(1.0, abs=0.2)
    ] * 3
    with pytest.raises(UnavailableError, match="shard 1"):
        tries.failed(failure(SHARD_DOWN))


def test_the_server_says_when(clock: Clock) -> None:
    later = UnavailableError("loading", retry_after_seconds=3.0)
    assert attempts(clock).failed(failure(later)) == 3.0
    assert attempts(clock).failed(failure(later, (PUSHBACK_KEY, "1500"))) == 1.5
    with pytest.raises(UnavailableError, match="loading"):
        attempts(clock, seconds=2.5).failed(failure(later))  # the deadline would pass in the pause


@pytest.mark.parametrize("pushback", ["-1", "soon"])
def test_a_server_that_wants_no_repeat_gets_none(clock: Clock, pushback: str) -> None:
    with pytest.raises(UnavailableError, match="shard 1"):
        attempts(clock).failed(failure(SHARD_DOWN, (PUSHBACK_KEY, pushback)))


@pytest.mark.parametrize(
    "error",
    [
        InvalidInputError("bad"),
        OverloadedError("full", retry_after_seconds=0.1),
        DeadlineError("late"),
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.CANCELLED,
    ],
)
def test_only_unavailable_servers_are_tried_again(clock: Clock, error: Any) -> None:
    with pytest.raises(LookalikeError):
        attempts(clock).failed(failure(error))


def test_a_deadline_in_a_retry_does_not_hide_what_a_server_explained(clock: Clock) -> None:
    tries = attempts(clock)
    tries.failed(failure(grpc.StatusCode.UNAVAILABLE))
    tries.failed(failure(SHARD_DOWN))
    with pytest.raises(UnavailableError, match="shard 1") as caught:
        tries.failed(failure(grpc.StatusCode.DEADLINE_EXCEEDED))
    assert caught.value.reason == Reason.SHARD_UNAVAILABLE
    tries = attempts(clock)
    tries.failed(failure(grpc.StatusCode.UNAVAILABLE))
    with pytest.raises(UnavailableError, match="here:1"):
        tries.failed(failure(grpc.StatusCode.DEADLINE_EXCEEDED))


def test_the_time_of_all_attempts_is_one_deadline(clock: Clock) -> None:
    tries = attempts(clock, seconds=2.0)
    clock.now = 1.85
    assert tries.remaining_seconds() == pytest.approx(0.15)
    tries.failed(failure(SHARD_DOWN))
    clock.now = 1.95
    with pytest.raises(UnavailableError):
        tries.failed(failure(SHARD_DOWN))
    clock.now = 3.0
    assert tries.remaining_seconds() == 0.0


def test_a_server_that_stays_down_is_not_given_four_times_its_load(clock: Clock) -> None:
    throttle = Throttle()
    attempted = 0
    for _ in range(200):
        tries = attempts(clock, throttle=throttle)
        with suppress(UnavailableError):
            while True:
                attempted += 1
                tries.failed(failure(SHARD_DOWN))
    assert attempted < 200 + 50
    for _ in range(10):
        attempts(clock, throttle=throttle).answered()
    with pytest.raises(UnavailableError):
        attempts(clock, throttle=throttle).failed(failure(SHARD_DOWN))
    for _ in range(600):
        attempts(clock, throttle=throttle).answered()
    assert attempts(clock, throttle=throttle).failed(failure(SHARD_DOWN)) > 0


def test_calls_whose_repeat_has_another_answer_are_not_repeated(clock: Clock) -> None:
    changes = [calls.delete_collection("a"), calls.set_alias("a", "b"), calls.delete_alias("a")]
    assert not any(call.repeatable for call in changes)
    assert calls.create_collection("a", {}).repeatable
    with pytest.raises(UnavailableError, match="shard 1"):
        attempts(clock, repeatable=False).failed(failure(SHARD_DOWN))


def test_an_answer_that_the_client_cannot_receive_is_the_callers_to_make_smaller(clock: Clock) -> None:
    metadata = grpc.aio.Metadata()
    details = "CLIENT: Received message larger than max (20971520 vs. 16777216)"
    error = grpc.aio.AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, metadata, metadata, details)
    with pytest.raises(InvalidInputError, match="ask for less") as caught:
        attempts(clock).failed(error)
    assert caught.value.reason == Reason.BATCH_TOO_LARGE


def test_a_status_of_another_server_is_read_too(clock: Clock) -> None:
    details = (DETAILS_KEY, status_pb2.Status(code=14, message="elsewhere").SerializeToString())
    metadata = grpc.aio.Metadata(details)
    error = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), metadata, "x")
    assert attempts(clock).failed(error) > 0
