"""The time that one request has, and what is left of it for the next step."""

from __future__ import annotations

import time

from lookalike.errors import DeadlineError
from lookalike.limits import MAX_DEADLINE_SECONDS

DEFAULT_SECONDS = 10.0
"""For callers that set no deadline."""
RESERVE_SECONDS = 0.005
"""Kept back from every call to another service, so that there is time to answer after the last of them."""


class Deadline:
    """A point in time by which the answer must be ready.

    Args:
        seconds: Time from now; None for a caller without a deadline. Capped at 60 s.
    """

    def __init__(self, seconds: float | None) -> None:
        wanted = DEFAULT_SECONDS if seconds is None else seconds
        self._end = time.monotonic() + min(wanted, MAX_DEADLINE_SECONDS)

    def remaining_seconds(self) -> float:
        """Returns the time left; negative once the deadline has passed."""
        return self._end - time.monotonic()

    def call_timeout_seconds(self, doing: str) -> float:
        """Returns the timeout for a call to another service.

        Args:
            doing: What the call is for, for the message, such as "embedding the photo".

        Raises:
            DeadlineError: No time is left for a call.
        """
        left = self.remaining_seconds() - RESERVE_SECONDS
        if left <= 0:
            raise DeadlineError(f"the deadline passed before {doing}")
        return left
