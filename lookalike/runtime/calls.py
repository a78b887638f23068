"""The calls in progress of one server: how many there may be, and how they end when it stops.

A call is counted before any of its request is read. gRPC's own ``maximum_concurrent_rpcs`` looks at the same
moment and refuses without any details, so it is not used.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Literal, get_args

from lookalike.errors import OverloadedError, Reason, UnavailableError

Kind = Literal["call", "stream", "probe"]
"""One request and one answer; a stream in either direction; health and reflection."""
KINDS: tuple[Kind, ...] = get_args(Kind)

_MAX_PROBES = 1_000
_RETRY_SECONDS = 0.1
_QUIET_SECONDS = 0.02
_QUIET_TURNS = 20
"""Of the event loop, which takes one waiting call of each method in a few of its turns."""
_MAX_QUIET_SECONDS = 1.0
_REFUSED: tuple[tuple[Kind, str], ...] = (
    ("call", "too_many"),
    ("call", "too_large"),
    ("call", "stopping"),
    ("stream", "too_many"),
    ("stream", "stopping"),
    ("probe", "too_many"),
)
"""Which calls can be refused, and why."""
_REFUSALS: dict[Kind, str] = {
    "call": "the server has too many calls in progress",
    "stream": "the server has too many streams open",
    "probe": "the server has too many health checks in progress",
}


class Calls:
    """Counts the calls of one server, refuses too many, and ends them in good order.

    Args:
        max_calls: Calls beyond it are refused, but for health and reflection.
        max_streams: Streams beyond it are refused.
        max_request_bytes: Of the requests in progress, streams apart.
    """

    def __init__(self, max_calls: int, max_streams: int, max_request_bytes: int) -> None:
        self._limits: dict[Kind, int] = {"call": max_calls, "stream": max_streams, "probe": _MAX_PROBES}
        self._max_request_bytes = max_request_bytes
        self._running: dict[asyncio.Task[Any], Kind] = {}
        self._unanswered: set[asyncio.Task[Any]] = set()
        """Calls that have not sent all of their answer, or of their refusal."""
        self._counts: dict[Kind, int] = dict.fromkeys(self._limits, 0)
        self._request_bytes = 0
        self._arrived = 0
        self._holding = False
        self.refused: Counter[tuple[Kind, str]] = Counter(dict.fromkeys(_REFUSED, 0))
        """(Kind, cause) → calls that were refused."""
        self.closing = asyncio.Event()
        """Set when calls are taken no more; those that never end by themselves end now."""
        self.cut_off = False
        """Whether those that still run are being ended."""

    def in_progress(self, kind: Kind) -> int:
        """Returns how many there are of a kind."""
        return self._counts[kind]

    def request_bytes(self) -> int:
        """Returns the size of all requests in progress, streams apart."""
        return self._request_bytes

    async def enter(self, kind: Kind) -> None:
        """Counts the present task as a call, until :meth:`leave` or its end.

        Raises:
            OverloadedError: There are too many.
            UnavailableError: The server is about to stop (``SHUTTING_DOWN``).
        """
        self._arrived += 1
        task = asyncio.current_task()
        assert task
        self._unanswered.add(task)
        # A call whose request never arrives has no handler that would say that it ends.
        task.add_done_callback(self._ended)
        if self._holding and kind != "probe":
            await self.closing.wait()
            self.refused[kind, "stopping"] += 1
            raise shutting_down()
        too_many = self._counts[kind] >= self._limits[kind]
        if too_many or (kind == "call" and self._request_bytes >= self._max_request_bytes):
            self.refused[kind, "too_many" if too_many else "too_large"] += 1
            raise OverloadedError(_REFUSALS[kind], retry_after_seconds=_RETRY_SECONDS)
        self._counts[kind] += 1
        self._running[task] = kind

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Counts a call no more, if it is still counted."""
        if kind := self._running.pop(task, None):
            self._counts[kind] -= 1

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.leave(task)
        self._unanswered.discard(task)

    def take_bytes(self, size: int) -> None:
        """Counts a request that has arrived, until :meth:`give_bytes`.

        Raises:
            OverloadedError: The requests in progress are too large together.
        """
        if self._request_bytes + size > self._max_request_bytes:
            self.refused["call", "too_large"] += 1
            raise OverloadedError(
                "the requests in progress are too large together", retry_after_seconds=_RETRY_SECONDS
            )
        self._request_bytes += size

    def give_bytes(self, size: int) -> None:
        """Counts a request no more."""
        self._request_bytes -= size

    async def hold(self) -> None:
        """Lets new calls wait, and returns once no more are on their way, or after a second.

        A call that gRPC has and no handler has taken is cancelled without a reason when the server stops.
        """
        self._holding = True
        deadline = asyncio.get_running_loop().time() + _MAX_QUIET_SECONDS
        arrived = -1
        while arrived != self._arrived and asyncio.get_running_loop().time() < deadline:
            arrived = self._arrived
            await asyncio.sleep(_QUIET_SECONDS)
            for _ in range(_QUIET_TURNS):
                await asyncio.sleep(0)

    def close(self) -> None:
        """Refuses the waiting calls and all that come."""
        self._holding = True
        self.closing.set()

    async def are_answered(self, timeout_seconds: float) -> bool:
        """Waits until all answers are sent, for some time at most; returns whether they are."""
        now = asyncio.get_running_loop().time
        end = now() + timeout_seconds
        while self._unanswered and now() < end:
            await asyncio.wait(self._unanswered, timeout=end - now())
        return not self._unanswered

    def cut(self) -> None:
        """Ends the calls that still run."""
        self.cut_off = True
        for task in self._running:
            task.cancel()


def shutting_down() -> UnavailableError:
    """Returns the error of a call that a stopping server does not answer."""
    return UnavailableError("the server is about to stop", reason=Reason.SHUTTING_DOWN)
