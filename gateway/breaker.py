"""Leaving a shard alone that has stopped answering, so that nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

_CALLS = 3
_SECONDS = 2.0


class Breaker:
    """Watches one shard; open means: its calls are failures at once, and only probes reach it.

    It opens when several calls in a row, sent over some time, were given up without any answer, however short
    the patience of their callers was: an answer to anything else in between shows that the shard is alive,
    and the gateway probes each shard every second. It closes with the next answer.

    Args:
        clock: Monotonic seconds.
        on_change: Is called with whether it is open now.
        calls: How many calls in a row without an answer open it.
        seconds: The first of them was sent so long ago at least.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        on_change: Callable[[bool], None] = lambda is_open: None,
        *,
        calls: int = _CALLS,
        seconds: float = _SECONDS,
    ) -> None:
        self.is_open = False
        self._clock = clock
        self._on_change = on_change
        self._calls = calls
        self._seconds = seconds
        self.given_up = 0
        """Calls in a row that were given up without an answer."""
        self._silent_since = self._answered_at = clock()
        self._waiting: set[asyncio.Task[Any]] = set()

    def watch(self, call: asyncio.Task[Any]) -> None:
        """Takes a call that is under way; it is cancelled when the breaker opens."""
        self._waiting.add(call)
        call.add_done_callback(self._waiting.discard)

    def answered(self) -> None:
        """Takes note of an answer of whatever kind."""
        self.given_up = 0
        self._answered_at = self._clock()
        if self.is_open:
            self.is_open = False
            self._on_change(False)

    def unanswered(self, sent_at: float) -> None:
        """Takes note of a call that was given up without an answer.

        Args:
            sent_at: When it was sent, by the clock.
        """
        # A slow call may be older than an answer to a later one.
        since = max(sent_at, self._answered_at)
        self._silent_since = min(self._silent_since, since) if self.given_up else since
        self.given_up += 1
        now = self._clock()
        long_enough = now - self._silent_since >= self._seconds
        if not self.is_open and self.given_up >= self._calls and long_enough:
            self.is_open = True
            self._on_change(True)
            for call in tuple(self._waiting):
                call.cancel()
