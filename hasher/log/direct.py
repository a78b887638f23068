"""Group commit: changes that arrive while one commit is on its way to the disk share the next one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from hasher.rows.records import Applied, Change
from lookalike.errors import LookalikeError, OverloadedError, Reason, UnavailableError

MAX_GROUP_MUTATIONS = 5000
_Pending = tuple[Change, "Future[Applied]"]


class GroupCommitter:
    """One thread that applies changes in the order of their arrival, several at once where they wait.

    Args:
        apply: Makes changes durable and searchable; returns a result or an error for each.
        max_pending: Changes that may wait.
    """

    def __init__(
        self, apply: Callable[[Sequence[Change]], Sequence[Applied | LookalikeError]], max_pending: int
    ) -> None:
        self._apply = apply
        self._queue: queue.Queue[_Pending | None] = queue.Queue(max_pending)
        self._submit_lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="hasher-commit", daemon=True)
        self._thread.start()

    def submit(self, change: Change) -> Future[Applied]:
        """Queues a change.

        Raises:
            OverloadedError: Too many changes wait.
            UnavailableError: The committer is closed.
        """
        future: Future[Applied] = Future()
        with self._submit_lock:
            if self._closed:
                raise UnavailableError("the generation is closing", reason=Reason.SHUTTING_DOWN)
            try:
                self._queue.put_nowait((change, future))
            except queue.Full:
                raise OverloadedError(
                    f"{self._queue.maxsize} changes of this generation wait already", retry_after_seconds=0.2
                ) from None
        return future

    def close(self) -> None:
        """Applies what is queued, then ends the thread."""
        with self._submit_lock:
            already_closed, self._closed = self._closed, True
        if not already_closed:
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_ = True
        while open_:
            group, open_ = self._next_group()
            # A caller that has gone away before its turn takes its change with it.
            group = [(change, future) for change, future in group if future.set_running_or_notify_cancel()]
            if not group:
                continue
            try:
                results = self._apply([change for change, _ in group])
            except Exception as error:
                for _, future in group:
                    future.set_exception(error)
                continue
            for (_, future), result in zip(group, results, strict=True):
                if isinstance(result, LookalikeError):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _next_group(self) -> tuple[list[_Pending], bool]:
        """Waits for a change and takes those queued behind it; False: the committer closes after them."""
        group: list[_Pending] = []
        pending = self._queue.get()
        mutations = 0
        while pending is not None:
            group.append(pending)
            mutations += len(pending[0].mutations)
            if mutations >= MAX_GROUP_MUTATIONS:
                return group, True
            try:
                pending = self._queue.get_nowait()
            except queue.Empty:
                return group, True
        return group, False
