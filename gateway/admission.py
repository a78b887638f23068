"""Bounded concurrency: a fixed number of requests run, a fixed number wait, the rest are refused at once."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from gateway.deadline import Deadline
from gateway.metrics import GatewayMetrics, Requests
from lookalike.errors import DeadlineError, OverloadedError

_SMOOTHING = 0.1
_MIN_RETRY_SECONDS = 0.05
_MAX_RETRY_SECONDS = 5.0


class Admission:
    """Lets requests in, and says when to come back.

    Args:
        what: What is admitted, also for messages.
        max_running: Requests that run at once.
        max_waiting: Requests that may wait for their turn.
        metrics: Where refusals are counted, and slots can be seen.
    """

    def __init__(self, what: Requests, max_running: int, max_waiting: int, metrics: GatewayMetrics) -> None:
        self._what = what
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._metrics = metrics
        self._slots = asyncio.Semaphore(max_running)
        self._running = 0
        self._waiting = 0
        self._mean_seconds = 0.0
        metrics.watch_slots(what, lambda: self._running, lambda: self._waiting)

    @property
    def is_busy(self) -> bool:
        """Whether requests wait, or half of the slots are taken: no time for what can wait."""
        return self._waiting > 0 or 2 * self._running >= self._max_running

    def slot(self, deadline: Deadline) -> _Slot:
        """Returns a context that waits for a slot and holds it.

        Raises:
            OverloadedError: Too many wait already.
            DeadlineError: The deadline passed before the request's turn came.
        """
        return _Slot(self, deadline)

    def _leave(self, held_seconds: float) -> None:
        self._running -= 1
        self._slots.release()
        self._mean_seconds += _SMOOTHING * (held_seconds - self._mean_seconds)

    async def _enter(self, deadline: Deadline) -> None:
        if self._slots.locked():
            await self._wait(deadline)
        else:
            await self._slots.acquire()  # at once
        self._running += 1

    async def _wait(self, deadline: Deadline) -> None:
        if self._waiting >= self._max_waiting:
            self._metrics.refused(self._what, "full")
            raise self._overloaded()
        self._waiting += 1
        try:
            async with asyncio.timeout(deadline.remaining_seconds()):
                await self._slots.acquire()
        except asyncio.CancelledError:
            self._metrics.refused(self._what, "late")
            raise
        except TimeoutError:
            self._metrics.refused(self._what, "late")
            raise DeadlineError(
                f"the deadline passed while the call waited behind other {self._what}"
            ) from None
        finally:
            self._waiting -= 1

    def _overloaded(self) -> OverloadedError:
        """Advises to return when those who wait now should be through."""
        ahead = (self._waiting + 1) * self._mean_seconds / self._max_running
        return OverloadedError(
            f"too many {self._what} at once",
            retry_after_seconds=min(max(ahead, _MIN_RETRY_SECONDS), _MAX_RETRY_SECONDS),
        )


class _Slot:
    """A slot while it is held: each search has one, so that it is no generator."""

    __slots__ = ("_admission", "_deadline", "_start")

    def __init__(self, admission: Admission, deadline: Deadline) -> None:
        self._admission = admission
        self._deadline = deadline

    async def __aenter__(self) -> None:
        await self._admission._enter(self._deadline)
        self._start = time.monotonic()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission._leave(time.monotonic() - self._start)
