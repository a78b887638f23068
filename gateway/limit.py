"""How many requests may run at once: a fixed number, or as many as do not slow each other down too much."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

_FIRST = 8
"""Where an adaptive limit begins; it doubles within some ten answers per request that runs."""
_ALONE = 2
"""So few at once do not slow each other down, on any machine that answers more than one."""
_SAMPLES = 16
"""Fewer say too little about a median."""
_LOOK_AGAIN_SECONDS = 10.0
_CALM = 0.85
"""Below this share of what is allowed the limit grows; in between it stays."""


class Limit(Protocol):
    """Says how many may run at once."""

    @property
    def value(self) -> int:
        """The number now."""

    def ended(self, seconds: float, running: int, *, was_reached: bool) -> None:
        """Learns from one request that did what it was to do.

        Args:
            seconds: That it took since it had arrived, without waiting for its turn.
            running: Requests that ran when it began, itself included.
            was_reached: Whether as many ran as might, at its end.
        """


class FixedLimit:
    """Always the same number."""

    def __init__(self, value: int) -> None:
        self.value = value

    def ended(self, seconds: float, running: int, *, was_reached: bool) -> None:
        """Learns nothing."""


class AdaptiveLimit:
    """Follows the time that requests take: the more run beyond what machines can do, the longer each takes.

    The median of those that ran nearly alone is compared with the median of the last ones. Both are of the
    same mixture of cheap and expensive requests, so that the mixture does not matter. Where it has been long
    that any ran alone, as under a lasting overload, few are let in for a moment.

    Args:
        least: The number is at least this.
        most: And at most this.
        slowdown: How many times as long as alone requests may take, more than 1.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        least: int,
        most: int,
        slowdown: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._least, self._most = least, most
        self._slowdown = slowdown
        self._clock = clock
        self._value = min(max(_FIRST, least), most)
        self._few = min(_ALONE, most)
        self._alone: deque[float] = deque(maxlen=2 * _SAMPLES)
        self._alone_at = clock()
        """When one ran alone last, or the limit began."""
        self._looking = 0
        """How many are still to run alone, while only few are let in for that."""
        self._recent: list[float] = []
        self._was_reached = False

    @property
    def value(self) -> int:
        """The number now."""
        return self._few if self._looking else self._value

    def ended(self, seconds: float, running: int, *, was_reached: bool) -> None:
        """See :class:`Limit`."""
        if running <= self._few:
            self._alone.append(seconds)
            self._alone_at = self._clock()
            self._looking = max(self._looking - 1, 0)
        if self._looking:
            return
        self._recent.append(seconds)
        self._was_reached |= was_reached
        if len(self._recent) >= max(_SAMPLES, self._value):
            self._adapt()
            self._recent.clear()
            self._was_reached = False

    def _adapt(self) -> None:
        # Where there was room for more, the number is not what decides how long they take.
        if not self._was_reached:
            return
        if self._clock() - self._alone_at >= _LOOK_AGAIN_SECONDS:
            self._looking = _SAMPLES
            return
        if not self._alone:
            return
        slowdown = statistics.median(self._recent) / statistics.median(self._alone)
        if slowdown > self._slowdown:
            self._value = max(self._value - max(self._value // 8, 1), self._least)
        elif slowdown < _CALM * self._slowdown:
            self._value = min(self._value + max(self._value // 8, 1), self._most)
