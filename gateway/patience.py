"""How long a search that could be answered waits for the shards that are still at work."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

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
        self._usual_seconds: dict[str, float] = {}

    def answered(self, call: str, seconds: float) -> None:
        """Takes how long one answer of a shard took; ``call`` is the name of the call."""
        recent = self._recent.setdefault(call, deque(maxlen=_RECENT_ANSWERS))
        recent.append(seconds)
        seen = self._seen[call] = self._seen.get(call, 0) + 1
        if seen % _REFRESH_EVERY == 0 or seen < _REFRESH_EVERY:
            ordered = sorted(recent)
            self._grace_seconds[call] = max(_TIMES_P99 * _quantile(ordered, 0.99), _MIN_SECONDS)
            self._usual_seconds[call] = _quantile(ordered, 0.9)

    def grace_seconds(self, call: str, silences: int = 0) -> float:
        """Returns how long to wait for more answers once enough have come: twice the p99, at least 20 ms.

        Args:
            call: The name of the call.
            silences: How often in a row the shard was waited for in vain; each time halves the next one, so
                that a shard that hangs delays a few searches, and not all until that is certain.
        """
        return self._grace_seconds.get(call, _MIN_SECONDS) / 2.0 ** min(silences, _MOST_HALVINGS)

    def usual_seconds(self, call: str) -> float:
        """Returns how long nine of ten answers take at most; a call is not late before that.

        Otherwise a shard that paused would be given up by each search at once: answers that are on their way
        would come too late, and the searches, faster than any that are answered, would keep the shard from
        answering at all.
        """
        return self._usual_seconds.get(call, 0.0)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1]
