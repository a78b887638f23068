"""What came of asking several shards: answers, failures, and the caller's mistakes among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.peers import SilentError, UnreachableError
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

_CALLERS_MISTAKES = (
    InvalidInputError,
    FailedPreconditionError,
    NotSupportedError,
    AlreadyExistsError,
    AbortedError,
)
# NOT_FOUND is not among them: the gateway knows which generations there are, a shard without one has lost it.
_NOT_FOR_THIS_SHARD = (Reason.SHARD_LAYOUT_MISMATCH, Reason.INSTALLATION_MISMATCH)
_WORDS_BY_REASON = {
    Reason.LOG_POSITION_NOT_REACHED: "log position not reached",
    Reason.SHARD_LAYOUT_MISMATCH: "it holds other partitions than expected",
    Reason.INSTALLATION_MISMATCH: "it belongs to another installation",
    Reason.MEMORY_FULL: "its memory is full",
}
_WORDS: tuple[tuple[type[LookalikeError], str], ...] = (
    (DeadlineError, "too late"),
    (OverloadedError, "overloaded"),
    (SilentError, "not answering"),
    (UnreachableError, "unreachable"),
    (NotFoundError, "its data is missing"),
    (DataLossError, "its data is damaged"),
)
_CAUSES_BY_REASON = {
    Reason.LOG_POSITION_NOT_REACHED: "behind",
    Reason.SHARD_LAYOUT_MISMATCH: "misplaced",
    Reason.INSTALLATION_MISMATCH: "misplaced",
    Reason.DISK_FULL: "disk_full",
    Reason.MEMORY_FULL: "memory_full",
    Reason.SHUTTING_DOWN: "stopping",
}
_CAUSES: tuple[tuple[type[LookalikeError], str], ...] = (
    (DeadlineError, "late"),
    (OverloadedError, "overloaded"),
    (SilentError, "silent"),
    (UnreachableError, "unreachable"),
    (NotFoundError, "data"),
    (DataLossError, "data"),
)
_OTHER_CAUSE = "failed"
CAUSES = tuple(sorted({*_CAUSES_BY_REASON.values(), *(cause for _, cause in _CAUSES), _OTHER_CAUSE}))
"""What :func:`cause_of` may return."""
_LOST_ADVICE = (
    "retrying does not help: give the shard its volume or a copy of its data back, or repair the collection"
    " (`lookalike collection repair`) and load the catalogue again"
)
_DAMAGED_ADVICE = "retrying does not help: give the shard a copy of its data back"
_MAX_WORDS = 200
_SHARE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """Who answered, and why the others did not."""

    answers: dict[int, T] = field(default_factory=dict)
    """Shard → answer."""
    failures: dict[int, LookalikeError] = field(default_factory=dict)
    """Shard → what went wrong there."""

    @property
    def degraded_reason(self) -> str:
        """A few words for each failed shard; empty when all answered."""
        return "; ".join(
            f"shard {shard}: {words_of(error)}" for shard, error in sorted(self.failures.items())
        )

    def covers(self, share: float) -> bool:
        """Returns whether at least this share, 0..1, of the called shards answered."""
        return covers(len(self.answers), len(self.answers) + len(self.failures), share)

    def retry_after_seconds(self) -> float:
        """Returns the longest wait that a failed shard asked for."""
        waits = [e.retry_after_seconds for e in self.failures.values() if isinstance(e, RetryableError)]
        return max(waits, default=0.0)

    @property
    def lost(self) -> set[int]:
        """The shards that no longer have the collection that they were asked about."""
        return {shard for shard, error in self.failures.items() if isinstance(error, NotFoundError)}

    def check_data(self, share: float = 1.0) -> None:
        """Makes sure that shards whose data is missing or damaged are not what an answer fails for.

        Args:
            share: Of the called shards, 0..1, that the answer needs.

        Raises:
            DataLossError: Without them the others cannot be enough, however often they are asked
                (``STORE_DAMAGED``); or the collection has been deleted since the call began, which the caller
                must find out.
        """
        gone = {n for n, error in self.failures.items() if isinstance(error, NotFoundError | DataLossError)}
        called = len(self.answers) + len(self.failures)
        if not covers(called - len(gone), called, share):
            raise DataLossError(
                f"{self.degraded_reason}; {_LOST_ADVICE if self.lost else _DAMAGED_ADVICE}",
                reason=Reason.STORE_DAMAGED,
                metadata={"shards_without_data": ",".join(map(str, sorted(gone)))},
            )

    def complete(self, advice: str) -> dict[int, T]:
        """Returns the answers of all shards.

        Args:
            advice: What the caller should do where that helps, for the message.

        Raises:
            DataLossError: See :meth:`check_data`.
            OverloadedError: A shard has no memory for more items, and none failed for another cause
                (``MEMORY_FULL``).
            UnavailableError: A shard failed (``SHARD_UNAVAILABLE``).
        """
        self.check_data()
        if self.failures:
            if all(error.reason is Reason.MEMORY_FULL for error in self.failures.values()):
                raise OverloadedError(
                    f"{self.degraded_reason}; {advice}",
                    reason=Reason.MEMORY_FULL,
                    retry_after_seconds=self.retry_after_seconds(),
                )
            raise UnavailableError(
                f"{self.degraded_reason}; {advice}",
                reason=Reason.SHARD_UNAVAILABLE,
                retry_after_seconds=self.retry_after_seconds(),
            )
        return self.answers


def covers(answered: int, called: int, share: float) -> bool:
    """Returns whether enough of the called shards answered.

    The share may be a float32: 3 of 5 shards satisfy 0.6.
    """
    return answered + _SHARE_TOLERANCE >= share * called


def words_of(error: LookalikeError) -> str:
    """Says in a few words, without internals, why a shard did not answer."""
    if error.reason in _WORDS_BY_REASON:
        return _WORDS_BY_REASON[error.reason]
    # What a shard itself says of its disk, its limits or its end is worth passing on.
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words
    return error.message[:_MAX_WORDS] if isinstance(error, RetryableError) else "failed"


def cause_of(error: LookalikeError) -> str:
    """Returns a label for why a service did not answer: one of few."""
    if error.reason in _CAUSES_BY_REASON:
        return _CAUSES_BY_REASON[error.reason]
    return next((cause for kind, cause in _CAUSES if isinstance(error, kind)), _OTHER_CAUSE)


def is_callers_mistake(error: LookalikeError) -> bool:
    """Whether the request itself is wrong, so that no shard could answer it."""
    return isinstance(error, _CALLERS_MISTAKES) and error.reason not in _NOT_FOR_THIS_SHARD
