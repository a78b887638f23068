"""Calling many shards at once, and telling the caller's mistakes from the shards' failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from gateway.peers import Shard
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
from lookalike.placement import partition_of, shard_of

T = TypeVar("T")
ShardCall = Callable[[int, Shard, float], Awaitable[T]]
"""Takes the shard's number, the shard and the timeout in seconds."""

_CALLERS_MISTAKES = (
    InvalidInputError,
    FailedPreconditionError,
    NotSupportedError,
    AlreadyExistsError,
    AbortedError,
)
# NOT_FOUND is not among them: the gateway knows which generations there are, a shard without one has lost it.
_WORDS: tuple[tuple[type[LookalikeError], str], ...] = (
    (DeadlineError, "too late"),
    (OverloadedError, "overloaded"),
    (UnavailableError, "unreachable"),
    (NotFoundError, "its data is missing"),
    (DataLossError, "its data is damaged"),
)
_SHARE_TOLERANCE = 1e-6
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
        return "; ".join(
            f"shard {shard}: {words_of(error)}" for shard, error in sorted(self.failures.items())
        )

    def covers(self, share: float) -> bool:
        """Returns whether at least this share, 0..1, of the called shards answered.

        The share may be a float32: 3 of 5 shards satisfy 0.6.
        """
        called = len(self.answers) + len(self.failures)
        return len(self.answers) + _SHARE_TOLERANCE >= share * called

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


class Shards:
    """All shards of the installation.

    Args:
        shards: In the order of their numbers.
        on_failure: Told the number of each shard that fails a call.
    """

    def __init__(self, shards: Sequence[Shard], on_failure: Callable[[int], None]) -> None:
        self._shards = tuple(shards)
        self._on_failure = on_failure

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._shards)

    def by_owner(self, item_ids: Sequence[str], partition_count: int) -> dict[int, list[int]]:
        """Returns shard → the indices of the items that it holds, in their order."""
        owners: dict[int, list[int]] = {}
        for index, item_id in enumerate(item_ids):
            owner = shard_of(partition_of(item_id, partition_count), self.count)
            owners.setdefault(owner, []).append(index)
        return owners

    async def call_all(self, call: ShardCall[T], timeout_seconds: float) -> Outcome[T]:
        """As :meth:`call`, for every shard."""
        return await self.call(range(self.count), call, timeout_seconds)

    async def call(self, numbers: Iterable[int], call: ShardCall[T], timeout_seconds: float) -> Outcome[T]:
        """Calls shards in parallel and waits for all of them, or until the time is up.

        Args:
            numbers: Which shards.
            call: Makes the call to one shard.
            timeout_seconds: For each call; later answers count as failures.

        Raises:
            LookalikeError: A shard says that the request itself is wrong.
        """
        chosen = list(numbers)
        results = await asyncio.gather(
            *(_bounded(call, number, self._shards[number], timeout_seconds) for number in chosen),
            return_exceptions=True,
        )
        outcome: Outcome[T] = Outcome({}, {})
        for number, result in zip(chosen, results, strict=True):
            if not isinstance(result, BaseException):
                outcome.answers[number] = result
            elif isinstance(result, LookalikeError):
                outcome.failures[number] = _failure(result)
            else:
                raise result
        for number, error in outcome.failures.items():
            self._on_failure(number)
            if not isinstance(error, RetryableError | DeadlineError):
                log.error("shard_failed", shard=number, reason=error.reason.value, error=error.message)
        return outcome


async def _bounded(call: ShardCall[T], number: int, shard: Shard, timeout_seconds: float) -> T:
    try:
        async with asyncio.timeout(timeout_seconds):
            return await call(number, shard, timeout_seconds)
    except TimeoutError:
        raise DeadlineError("the shard did not answer in time") from None


def _failure(error: LookalikeError) -> LookalikeError:
    """Returns a shard's own failure; raises what is the caller's mistake."""
    if isinstance(error, _CALLERS_MISTAKES) and error.reason is not Reason.SHARD_LAYOUT_MISMATCH:
        raise error
    return error
