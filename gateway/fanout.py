"""Calling many shards at once, and telling the caller's mistakes from the shards' failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from lookalike.errors import (
    AbortedError,
    AlreadyExistsError,
    DataLossError,
    DeadlineError,
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    NotFoundError,
    NotSupportedError,
    OverloadedError,
    Reason,
    RetryableError,
    UnavailableError,
)

T = TypeVar("T")
ShardCall = Callable[[float], Awaitable[T]]
"""Takes the timeout in seconds."""

_CALLERS_MISTAKES = (
    InvalidInputError,
    FailedPreconditionError,
    NotSupportedError,
    AlreadyExistsError,
    AbortedError,
)
# NOT_FOUND is not among them: the gateway knows which generations there are, so a shard without one has lost it.
_WORDS: tuple[tuple[type[LookalikeError], str], ...] = (
    (DeadlineError, "too late"),
    (OverloadedError, "overloaded"),
    (UnavailableError, "unreachable"),
    (NotFoundError, "its data is missing"),
    (DataLossError, "its data is damaged"),
)
log = structlog.get_logger()


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """Who answered, and why the others did not."""

    answers: dict[int, T]
    """Shard → answer."""
    failures: dict[int, LookalikeError]
    """Shard → what went wrong there."""

    @property
    def degraded_reason(self) -> str:
        """A few words for each failed shard; empty when all answered."""
        return "; ".join(f"shard {shard}: {words_of(error)}" for shard, error in sorted(self.failures.items()))

    def retry_after_seconds(self) -> float:
        """Returns the longest wait that a failed shard asked for."""
        waits = [e.retry_after_seconds for e in self.failures.values() if isinstance(e, RetryableError)]
        return max(waits, default=0.0)

    def complete(self, advice: str) -> dict[int, T]:
        """Returns the answers of all shards.

        Args:
            advice: What the caller should do, for the message.

        Raises:
            UnavailableError: A shard failed (``SHARD_UNAVAILABLE``).
        """
        if self.failures:
            raise UnavailableError(
                f"{self.degraded_reason}; {advice}",
                reason=Reason.SHARD_UNAVAILABLE,
                retry_after_seconds=self.retry_after_seconds(),
            )
        return self.answers


def words_of(error: LookalikeError) -> str:
    """Says in a few words, without internals, why a shard did not answer."""
    if error.reason is Reason.LOG_POSITION_NOT_REACHED:
        return "log position not reached"
    if error.reason is Reason.SHARD_LAYOUT_MISMATCH:
        return "it holds other partitions than expected"
    return next((words for kind, words in _WORDS if isinstance(error, kind)), "failed")


async def fan_out(calls: Mapping[int, ShardCall[T]], timeout_seconds: float) -> Outcome[T]:
    """Calls shards in parallel and waits for all of them, or until the time is up.

    Args:
        calls: Shard → its call.
        timeout_seconds: For each call; later answers count as failures.

    Raises:
        LookalikeError: A shard says that the request itself is wrong.
    """
    tasks = {
        shard: asyncio.ensure_future(_bounded(call, timeout_seconds)) for shard, call in calls.items()
    }
    try:
        results = await asyncio.gather(*tasks.values(), return_exceptions=True)
    finally:
        for task in tasks.values():
            task.cancel()
    outcome: Outcome[T] = Outcome({}, {})
    for shard, result in zip(tasks, results, strict=True):
        if not isinstance(result, BaseException):
            outcome.answers[shard] = result
        elif isinstance(result, LookalikeError):
            outcome.failures[shard] = _failure(result)
        else:
            raise result
    for shard, error in outcome.failures.items():
        if not isinstance(error, RetryableError | DeadlineError):
            log.error("shard_failed", shard=shard, reason=error.reason.value, error=error.message)
    return outcome


async def _bounded(call: ShardCall[T], timeout_seconds: float) -> T:
    try:
        async with asyncio.timeout(timeout_seconds):
            return await call(timeout_seconds)
    except TimeoutError:
        raise DeadlineError("the shard did not answer in time") from None


def _failure(error: LookalikeError) -> LookalikeError:
    """Returns a shard's own failure; raises what is the caller's mistake."""
    if isinstance(error, _CALLERS_MISTAKES) and error.reason is not Reason.SHARD_LAYOUT_MISMATCH:
        raise error
    return error
