"""How long a search that could be answered waits for the shards that are still at work."""

from __future__ import annotations

import math
from collections import deque

_MIN_SECONDS = 0.02
_TIMES_P99 = 2.0
_RECENT_ANSWERS = 256
_MOST_HALVINGS = 16
_REFRESH_EVERY = 32


class Patience:
    """Learns how long answers take, and from that how long a late one is worth waiting for."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._seen: dict[str, int] = {}
        self._grace_seconds: dict[str, float] = {}

    def answered(self, call: str, seconds: float) -> None:
        """Takes how long one answer of a shard took; ``call`` is the name of the call."""
        recent = self._recent.setdefault(call, deque(maxlen=_RECENT_ANSWERS))
        recent.append(seconds)
        seen = self._seen[call] = self._seen.get(call, 0) + 1
        if seen % _REFRESH_EVERY == 0 or seen < _REFRESH_EVERY:
            ordered = sorted(recent)
            p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
            self._grace_seconds[call] = max(_TIMES_P99 * p99, _MIN_SECONDS)

    def grace_seconds(self, call: str, given_up: int = 0) -> float:
        """Returns how long to wait for more answers once enough have come: twice the p99, at least 20 ms.

        Args:
            call: The name of the call.
            given_up: Calls to the shard in a row that got no answer; each halves the time, so that a shard
                that hangs delays a few searches, and not all until that is certain.
        """
        return self._grace_seconds.get(call, _MIN_SECONDS) / 2.0 ** min(given_up, _MOST_HALVINGS)
