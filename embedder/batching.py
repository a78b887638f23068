"""Micro-batching: requests that arrive while a batch runs share the next one.

With the default wait of zero a lone request is never delayed: it starts at once, and batches form only
when the encoder is busy, which is when they pay. An engine in this process works on one batch at a time; a
model server may be given several, which it merges as it sees fit.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from lookalike.errors import OverloadedError, Reason, UnavailableError

T = TypeVar("T")
R = TypeVar("R")

_SMOOTHING = 0.2


class MicroBatcher(Generic[T, R]):
    """A bounded queue in front of a function that works on batches.

    Create it and call :meth:`start` within the event loop that will use it.

    Args:
        run_batch: Maps a batch to as many results, in order. An exception reaches every request of its
            batch.
        max_batch: Largest batch.
        max_running: Batches that run at the same time.
        max_wait_seconds: How long an incomplete batch waits for company.
        max_queue: Requests that may wait; beyond that :meth:`submit` refuses.
        on_batch: Called with the size of every batch, before it runs.
    """

    def __init__(
        self,
        run_batch: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        max_batch: int,
        max_running: int = 1,
        max_wait_seconds: float = 0.0,
        max_queue: int = 256,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        self._run_batch = run_batch
        self._max_batch = max_batch
        self._max_wait_seconds = max_wait_seconds
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._queue: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._changed = asyncio.Event()
        self._closing = False
        self._batch_seconds = 0.0
        self._free = asyncio.Semaphore(max_running)
        self._max_running = max_running
        self._running: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work on the queue."""
        self._worker = asyncio.get_running_loop().create_task(self._work(), name="micro-batcher")

    async def submit(self, item: T) -> R:
        """Queue one item and wait for its result. Cancelling takes it out of the queue.

        Raises:
            OverloadedError: The queue is full; ``retry_after_seconds`` estimates when it will not be.
            UnavailableError: The batcher is closing.
        """
        if self._closing:
            raise UnavailableError(
                "the embedder is shutting down; try another one", reason=Reason.SHUTTING_DOWN
            )
        if len(self._queue) >= self._max_queue:
            self._drop_cancelled()
        if len(self._queue) >= self._max_queue:
            batches = -(-len(self._queue) // (self._max_batch * self._max_running))
            raise OverloadedError(
                f"{len(self._queue)} pictures already wait to be encoded; try again later",
                retry_after_seconds=batches * self._batch_seconds,
            )
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        self._changed.set()
        return await future

    async def close(self) -> None:
        """Refuse new items, finish the queued ones and stop."""
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
        batch: list[tuple[T, asyncio.Future[R]]] = []
        while self._queue and len(batch) < self._max_batch:
            item, future = self._queue.popleft()
            if not future.done():
                batch.append((item, future))
        return batch

    def _drop_cancelled(self) -> None:
        self._queue = deque(entry for entry in self._queue if not entry[1].done())

    async def _run(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        if self._on_batch is not None:
            self._on_batch(len(batch))
        items = [item for item, _ in batch]
        started = time.monotonic()
        try:
            results = await self._run_batch(items)
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for a batch of {len(batch)}")
        except Exception as error:  # whatever went wrong belongs to the waiting requests, not to this loop
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        self._batch_seconds += _SMOOTHING * (time.monotonic() - started - self._batch_seconds)
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
