"""The time that one request has, and what is left of it for the next step."""

from __future__ import annotations

import time

from lookalike.errors import DeadlineError
from lookalike.limits import MAX_DEADLINE_SECONDS

DEFAULT_SECONDS = 10.0
"""For callers that set no deadline."""
_RESERVE_SHARE = 0.05
_MIN_RESERVE_SECONDS, _MAX_RESERVE_SECONDS = 0.005, 0.1


class Deadline:
    """A point in time by which the answer must be ready.

    Args:
        seconds: Time from now; None for a caller without a deadline. Capped at 60 s.
        waited_seconds: For how long the request has been here before anyone looked at it.
    """

    def __init__(self, seconds: float | None, waited_seconds: float = 0.0) -> None:
        self.waited_seconds = waited_seconds
        wanted = DEFAULT_SECONDS if seconds is None else seconds
        self._end = time.monotonic() + min(wanted, MAX_DEADLINE_SECONDS)

    def remaining_seconds(self) -> float:
        """Returns the time left; negative once the deadline has passed."""
        return self._end - time.monotonic()

    def call_timeout_seconds(self, doing: str, share: float = 1.0) -> float:
        """Returns the timeout for a call to another service.

        A little of the time left is kept back, so that a partial answer still reaches the caller when the
        other service hangs: a few milliseconds are not enough for that on a busy machine.

        Args:
            doing: What the call is for, for the message, such as "embedding the photo".
            share: How much of the time left it may take, where other stages follow.

        Raises:
            DeadlineError: No time is left for a call.
        """
        left = self.remaining_seconds()
        reserve = min(max(left * _RESERVE_SHARE, _MIN_RESERVE_SECONDS), _MAX_RESERVE_SECONDS)
        timeout = (left - reserve) * share
        if timeout <= 0:
            raise DeadlineError(f"the deadline passed before {doing}")
        return timeout
