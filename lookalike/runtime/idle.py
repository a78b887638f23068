"""How much time the event loop has left. Calls that wait inside gRPC cannot be seen; that it is full can."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable


class _TimedSelector(selectors.DefaultSelector):
    """Adds up the time for which there was nothing to do."""

    idle_seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        start = time.perf_counter()
        try:
            return super().select(timeout)
        finally:
            self.idle_seconds += time.perf_counter() - start


class TimedEventLoop(asyncio.SelectorEventLoop):
    """An event loop that knows for how long it had nothing to do."""

    def __init__(self) -> None:
        self._timed = _TimedSelector()
        super().__init__(self._timed)

    @property
    def idle_seconds(self) -> float:
        """Seconds without anything to do, since the loop was made."""
        return self._timed.idle_seconds


def idle_seconds() -> float:
    """Returns the seconds that the running loop had nothing to do; of another kind of loop all there were."""
    loop = asyncio.get_running_loop()
    return loop.idle_seconds if isinstance(loop, TimedEventLoop) else time.perf_counter()


def idle_shares() -> Callable[[], float]:
    """Returns what returns the share of the time since its last call in which the loop had nothing to do."""
    before: tuple[float, float] | None = None

    def share() -> float:
        nonlocal before
        (idle_before, wall_before), before = before or (0.0, 0.0), (idle_seconds(), time.perf_counter())
        return (before[0] - idle_before) / (before[1] - wall_before) if wall_before else 1.0

    return share
