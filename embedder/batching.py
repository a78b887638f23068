"""Micro-batching: requests that arrive while a batch runs share the next one.

With the default wait of zero a lone request is never delayed: it starts at once, and batches form only
when the encoder is busy, which is when they pay. A backend in this process works on one batch at a time; a
model server may be given several, which it merges as it sees fit.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from lookalike.errors import Reason, UnavailableError

T = TypeVar("T")
R = TypeVar("R")


class MicroBatcher(Generic[T, R]):
    """A queue in front of a function that works on batches; its users bound what they submit.

    Create it and call :meth:`start` within the event loop that will use it.

    Args:
        run_batch: Maps a batch to as many results, in order. An exception reaches every request of its
            batch.
        max_batch: Largest batch.
        max_running: Batches that run at the same time.
        max_wait_seconds: How long an incomplete batch waits for company.
        on_batch: Called with the size of every batch, before it runs.
    """

    def __init__(
        self,
        run_batch: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        max_batch: int,
        max_running: int = 1,
        max_wait_seconds: float = 0.0,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        self._run_batch = run_batch
        self._max_batch = max_batch
        self._max_wait_seconds = max_wait_seconds
        self._on_batch = on_batch
        self._queue: dict[asyncio.Future[R], T] = {}  # in order
        self._changed = asyncio.Event()
        self._closing = False
        self._free = asyncio.Semaphore(max_running)
        self._running: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to work on the queue."""
        self._worker = asyncio.get_running_loop().create_task(self._work(), name="micro-batcher")

    async def submit(self, item: T) -> R:
        """Queues one item and waits for its result. Cancelling removes it from the queue.

        Raises:
            UnavailableError: The batcher is closing.
        """
        if self._closing:
            raise UnavailableError(
                "the embedder is shutting down; try another one", reason=Reason.SHUTTING_DOWN
            )
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue[future] = item
        self._changed.set()
        try:
            return await future
        finally:
            self._queue.pop(future, None)

    @property
    def waiting(self) -> int:
        """Items that are queued."""
        return len(self._queue)

    async def close(self) -> None:
        """Refuses new items, finishes the queued ones and stops."""
        self._closing = True
        self._changed.set()
        if self._worker is not None:
            await self._worker
        await asyncio.gather(*self._running)

    async def _work(self) -> None:
        while True:
            while not self._queue:
                if self._closing:
                    return
                self._changed.clear()
                await self._changed.wait()
            await self._free.acquire()
            await self._wait_for_company()
            batch = self._take()
            if not batch:
                self._free.release()
                continue
            task = asyncio.get_running_loop().create_task(self._run(batch), name="batch")
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._free.release()

    async def _wait_for_company(self) -> None:
        deadline = time.monotonic() + self._max_wait_seconds
        while len(self._queue) < self._max_batch and not self._closing:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), remaining)
            except TimeoutError:
                return

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        first = list(itertools.islice(self._queue, self._max_batch))
        return [(self._queue.pop(future), future) for future in first]

    async def _run(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        if self._on_batch is not None:
            self._on_batch(len(batch))
        items = [item for item, _ in batch]
        try:
            results = await self._run_batch(items)
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for a batch of {len(batch)}")
        except Exception as error:  # whatever went wrong belongs to the waiting requests, not to this loop
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
