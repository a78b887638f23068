"""The log of an installation without one: a hasher's own commit thread decides the order of changes.

Changes that arrive while one commit is on its way to the disk share the next one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from types import MappingProxyType
from typing import NamedTuple

from hasher.log.base import Applied, Apply, Change, Record
from hasher.metrics import HasherMetrics, unserved
from lookalike.errors import LookalikeError, OverloadedError, Reason, UnavailableError

LANE = 0
MAX_GROUP_MUTATIONS = 5000


class _Pending(NamedTuple):
    """A change that waits."""

    change: Change
    future: Future[Applied]
    since: float
    """When it began to wait."""


class DirectLog:
    """A queue, and a thread that applies changes in the order of their arrival, several at once.

    Args:
        max_pending: Changes that may wait.
        metrics: Where it shows how long changes wait, and how many share a commit.
        clock: Nanoseconds since 1970.
    """

    log_id = "direct"
    first_positions: Mapping[int, int] = MappingProxyType({LANE: 1})

    def __init__(
        self,
        max_pending: int = 256,
        metrics: HasherMetrics | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._max_pending = max_pending
        self._metrics = metrics or unserved()
        self._clock = clock
        self._queue: deque[_Pending] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._position = 0
        self._thread: threading.Thread | None = None

    def follow(self, after: Mapping[int, int], apply: Apply) -> None:
        """See :class:`hasher.log.base.Log`."""
        self._position = after.get(LANE, 0)
        self._thread = threading.Thread(target=self._run, args=(apply,), name="hasher-commit", daemon=True)
        self._thread.start()

    def submit(self, change: Change) -> Future[Applied]:
        """See :class:`hasher.log.base.Log`."""
        future: Future[Applied] = Future()
        with self._changed:
            if self._closed:
                raise UnavailableError("the generation is closing", reason=Reason.SHUTTING_DOWN)
            if len(self._queue) >= self._max_pending:
                self._metrics.refused()
                raise OverloadedError(
                    f"{self._max_pending} changes of this generation wait already", retry_after_seconds=0.2
                )
            self._queue.append(_Pending(change, future, time.perf_counter()))
            self._changed.notify()
        return future

    def pending(self) -> int:
        """See :class:`hasher.log.base.Log`."""
        return len(self._queue)

    def close(self) -> None:
        """See :class:`hasher.log.base.Log`."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread:
            self._thread.join()

    def _run(self, apply: Apply) -> None:
        while group := self._next_group():
            # A caller that has gone away before its turn takes its change with it.
            running = [entry for entry in group if entry.future.set_running_or_notify_cancel()]
            if running:
                now = time.perf_counter()
                for entry in running:
                    self._metrics.write_took("queue", now - entry.since)
                self._metrics.grouped(len(running), sum(len(entry.change.mutations) for entry in running))
                self._apply(running, apply)

    def _next_group(self) -> list[_Pending]:
        """Waits for a change and takes those queued behind it; none: the log is closed."""
        group: list[_Pending] = []
        mutations = 0
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            while self._queue and mutations < MAX_GROUP_MUTATIONS:
                group.append(self._queue.popleft())
                mutations += len(group[-1].change.mutations)
        return group

    def _apply(self, group: Sequence[_Pending], apply: Apply) -> None:
        time_ns = self._clock()
        records = [
            Record(LANE, position, time_ns, entry.change)
            for position, entry in enumerate(group, start=self._position + 1)
        ]
        try:
            results = apply(records)
        except BaseException as error:
            # Whatever it is, this thread lives on: nobody else would answer those who wait.
            if len(group) > 1:
                # One change may be what the others fail for.
                for entry in group:
                    self._apply([entry], apply)
            else:
                group[0].future.set_exception(_answerable(error))
            return
        self._position = records[-1].position
        for entry, result in zip(group, results, strict=True):
            if isinstance(result, LookalikeError):
                entry.future.set_exception(result)
            else:
                entry.future.set_result(result)


def _answerable(error: BaseException) -> Exception:
    """Returns an error that a caller can be given: a panic of the engine is not an ``Exception``."""
    if isinstance(error, Exception):
        return error
    wrapped = RuntimeError(f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
