"""When a failed call is tried again, without its transport; both clients drive one :class:`Attempts` a call.

gRPC can retry by itself, but gives the caller the last attempt's failure alone: a search that was explained
after 1.9 of 2 seconds ended as a bare DEADLINE_EXCEEDED. The rules are gRPC's own (gRFC A6).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final

import grpc

from lookalike.client.failures import call_error, is_described, pushback_seconds
from lookalike.errors import DeadlineError, UnavailableError
from lookalike.wire.channel import RETRY_KEY

MAX_ATTEMPTS: Final = 4
_FIRST_DELAY_SECONDS: Final = 0.1
_LAST_DELAY_SECONDS: Final = 1.0


class Throttle:
    """Keeps a client from multiplying the load of a server that is down; shared by its calls.

    Each failed attempt takes a token, each answer gives a tenth back, and with half of the tokens gone
    nothing is tried again. There are enough for many calls at once to lose one connection.
    """

    MAX_TOKENS: Final = 100.0
    TOKENS_FOR_AN_ANSWER: Final = 0.1

    def __init__(self) -> None:
        self._tokens = self.MAX_TOKENS
        self._lock = threading.Lock()

    def answered(self) -> None:
        """Counts an answer."""
        with self._lock:
            self._tokens = min(self.MAX_TOKENS, self._tokens + self.TOKENS_FOR_AN_ANSWER)

    def failed(self) -> bool:
        """Counts a failed attempt; returns whether another may follow."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1.0)
            return self._tokens > self.MAX_TOKENS / 2


class Attempts:
    """The attempts of one call within its deadline.

    Args:
        target: Where the call goes, for errors.
        timeout_seconds: For all attempts together.
        throttle: The client's.
        repeatable: Whether the same call again has the same answer.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        target: str,
        timeout_seconds: float,
        throttle: Throttle,
        *,
        repeatable: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._throttle = throttle
        self._max_attempts = MAX_ATTEMPTS if repeatable else 1
        self._clock = clock
        self._deadline = clock() + timeout_seconds
        self._earlier: list[tuple[UnavailableError, bool]] = []
        """What failed so far, and whether a server explained it."""

    def remaining_seconds(self) -> float:
        """Returns the timeout of the next attempt."""
        return max(0.0, self._deadline - self._clock())

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Returns what tells the server of earlier attempts."""
        return ((RETRY_KEY, str(len(self._earlier))),) if self._earlier else ()

    def answered(self) -> None:
        """Notes that the call was answered."""
        self._throttle.answered()

    def failed(self, failure: grpc.RpcError) -> float:
        """Decides what follows a failed attempt.

        Returns:
            Seconds to wait before the next one.

        Raises:
            LookalikeError: No other attempt follows. If time ran out in a retry, this is the first error that
                a server explained.
        """
        error = call_error(failure, self._target)
        if isinstance(error, DeadlineError) and self._earlier:
            raise next((earlier for earlier, explained in self._earlier if explained), self._earlier[0][0])
        if not isinstance(error, UnavailableError):
            raise error
        self._earlier.append((error, is_described(failure)))
        pushback = pushback_seconds(failure)
        delay = max(self._backoff(), error.retry_after_seconds) if pushback is None else pushback
        may_follow = self._throttle.failed() and len(self._earlier) < self._max_attempts
        if not may_follow or not 0 <= delay < self.remaining_seconds():
            raise error
        return delay

    def _backoff(self) -> float:
        delay = min(_FIRST_DELAY_SECONDS * 2.0 ** (len(self._earlier) - 1), _LAST_DELAY_SECONDS)
        return delay * random.uniform(0.8, 1.2)
