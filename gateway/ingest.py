"""Bulk loading over one stream: the next batch is embedded while those before it are written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from gateway.deadline import Deadline
from gateway.directory.base import Collection
from gateway.metrics import GatewayMetrics
from gateway.writes import PreparedBatch, Writer
from lookalike import limits
from lookalike.errors import (
    FailedPreconditionError,
    InvalidInputError,
    OverloadedError,
    Reason,
)
from lookalike.v1 import catalog_pb2

T = TypeVar("T")
Requests = AsyncIterator[catalog_pb2.IngestItemsRequest]
_FIRST_BATCH_SIZE = 32
_TARGET_SECONDS = 1.0
_TARGET_BYTES = 8 * limits.MIB
_MIN_PAUSE_SECONDS = 0.05
_WRITES_AT_ONCE = 3
"""Of one stream: while one waits for the disk, the next is sent to the shards and applied."""


class BatchSizer:
    """Says how large the next batch should be: about a second of work and well below the message limit."""

    def __init__(self) -> None:
        self.size = _FIRST_BATCH_SIZE

    def observe(self, items: int, seconds: float, payload_bytes: int) -> None:
        """Takes the figures of one batch; the size at most doubles or halves with each."""
        by_time = items * _TARGET_SECONDS / max(seconds, 1e-6)
        by_bytes = items * _TARGET_BYTES / max(payload_bytes, 1)
        wanted = min(max(min(by_time, by_bytes), self.size / 2), self.size * 2)
        self.size = int(min(max(wanted, 1), limits.MAX_UPSERT_ITEMS))


@dataclass(frozen=True)
class _Work:
    """A batch on its way, with what it cost so far."""

    batch: PreparedBatch
    payload_bytes: int
    seconds: float
    ready_at: float
    """When it was prepared."""

    @property
    def item_ids(self) -> frozenset[str]:
        """Of what is to be written."""
        return frozenset(self.batch.write.item_ids)


_Written = asyncio.Task[catalog_pb2.IngestItemsResponse]


class Ingest:
    """Serves bulk-load streams.

    Args:
        writer: Prepares and writes the batches.
        draining: Set when the server is about to stop.
        batch_seconds: Time that one batch may take, waiting under overload included.
        metrics: Where batches are timed.
    """

    def __init__(
        self, writer: Writer, draining: asyncio.Event, batch_seconds: float, metrics: GatewayMetrics
    ) -> None:
        self._metrics = metrics
        self._writer = writer
        self._draining = draining
        self._batch_seconds = batch_seconds

    async def run(self, requests: Requests) -> AsyncGenerator[catalog_pb2.IngestItemsResponse, None]:
        """Answers one stream, batch by batch in order; the errors are those that catalog.proto lists."""
        collection = self._start(await anext(requests, None))
        sizer = BatchSizer()
        # Next to those in it, one write is waited for here and one to be put; more stay in the transport.
        begun: asyncio.Queue[_Written | Exception | None] = asyncio.Queue(maxsize=_WRITES_AT_ONCE - 2)
        writes: dict[_Written, frozenset[str]] = {}
        preparing = asyncio.create_task(self._write_all(requests, collection, sizer, begun, writes))
        draining = asyncio.create_task(self._draining.wait())
        announced = self._draining.is_set()
        first = self._response(sizer)
        first.collection, first.generation = collection.name, collection.generation
        try:
            yield first
            while True:
                taking = asyncio.create_task(begun.get())
                try:
                    if not announced:
                        await asyncio.wait({taking, draining}, return_when=asyncio.FIRST_COMPLETED)
                        announced = draining.done()
                        if announced and not taking.done():
                            yield self._response(sizer)
                    written = await taking
                finally:
                    taking.cancel()
                if written is None:
                    return
                if isinstance(written, Exception):
                    raise written
                yield await written
        finally:
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)
            for task in (draining, *writes):
                task.cancel()
            await asyncio.gather(draining, *writes, return_exceptions=True)

    def _start(self, request: catalog_pb2.IngestItemsRequest | None) -> Collection:
        """Returns the collection of a stream.

        Raises:
            InvalidInputError: The stream does not begin with ``start``.
            NotFoundError: There is no such collection.
            FailedPreconditionError: Its name means another generation than ``start`` says
                (``GENERATION_MOVED``).
        """
        if request is None or request.WhichOneof("message") != "start":
            raise InvalidInputError(
                "the first message of the stream must be start", reason=Reason.FIELD_MISSING, field="start"
            )
        collection = self._writer.directory.resolve(request.start.collection)
        if request.start.generation not in ("", collection.generation):
            raise FailedPreconditionError(
                "the name of the collection means another generation than the one that this load began with:"
                " begin the load again, or name the collection itself",
                reason=Reason.GENERATION_MOVED,
                field="start.generation",
                metadata={"collection": collection.name, "generation": collection.generation},
            )
        return collection

    async def _write_all(
        self,
        requests: Requests,
        collection: Collection,
        sizer: BatchSizer,
        begun: asyncio.Queue[_Written | Exception | None],
        writes: dict[_Written, frozenset[str]],
    ) -> None:
        """Prepares batch after batch, and begins to write each; what goes wrong is raised in its turn.

        Batches that are written at once have no item in common: the last state of an item wins.
        """
        try:
            async for request in requests:
                work = await self._prepare(request, collection)
                item_ids = work.item_ids
                while same := [write for write, ids in writes.items() if not ids.isdisjoint(item_ids)]:
                    await asyncio.wait(same)
                write = asyncio.create_task(self._write(work, sizer))
                writes[write] = item_ids
                write.add_done_callback(writes.pop)
                write.add_done_callback(_look_at)
                await begun.put(write)
        except Exception as error:
            await begun.put(error)
        else:
            await begun.put(None)

    async def _prepare(self, request: catalog_pb2.IngestItemsRequest, collection: Collection) -> _Work:
        if request.WhichOneof("message") != "batch":
            raise InvalidInputError(
                "every message after the first must hold a batch", reason=Reason.FIELD_INVALID, field="batch"
            )
        start = time.monotonic()
        deadline = Deadline(self._batch_seconds)
        try:
            batch = await self._when_admitted(
                deadline,
                lambda: self._writer.prepare(
                    collection, request.batch.request_id, request.batch.items, "batch.items", deadline
                ),
            )
        finally:
            ready_at = time.monotonic()
            self._metrics.ingest_took("prepare", ready_at - start)
        return _Work(batch, request.ByteSize(), ready_at - start, ready_at)

    async def _write(self, work: _Work, sizer: BatchSizer) -> catalog_pb2.IngestItemsResponse:
        start = time.monotonic()
        self._metrics.ingest_took("wait", start - work.ready_at)
        # A batch that waited for the one before it must not pay for that wait.
        deadline = Deadline(self._batch_seconds)
        try:
            written = await self._when_admitted(deadline, lambda: self._writer.write(work.batch, deadline))
        finally:
            write_seconds = time.monotonic() - start
            self._metrics.ingest_took("write", write_seconds)
        self._metrics.ingested(len(written.results))
        seconds = work.seconds + write_seconds
        sizer.observe(len(written.results), seconds, work.payload_bytes)
        response = self._response(sizer)
        response.request_id = work.batch.write.request_id
        for result in written.results:
            if result.HasField("error"):
                response.failures.add(item_id=result.item_id, error=result.error)
            else:
                response.acknowledged_item_ids.append(result.item_id)
        if written.HasField("receipt"):
            response.receipt.CopyFrom(written.receipt)
        return response

    async def _when_admitted(self, deadline: Deadline, step: Callable[[], Awaitable[T]]) -> T:
        """Does one step; under overload a bulk load slows down instead of failing."""
        while True:
            try:
                async with self._writer.slot(deadline):
                    return await step()
            except OverloadedError as error:
                pause_seconds = max(error.retry_after_seconds, _MIN_PAUSE_SECONDS)
                if deadline.remaining_seconds() <= pause_seconds:
                    raise
                self._metrics.ingest_paused()
                await asyncio.sleep(pause_seconds)

    def _response(self, sizer: BatchSizer) -> catalog_pb2.IngestItemsResponse:
        return catalog_pb2.IngestItemsResponse(next_batch_size=sizer.size, drain=self._draining.is_set())


def _look_at(write: _Written) -> None:
    """Keeps asyncio from reporting the error of a write that comes after one that failed."""
    if not write.cancelled():
        write.exception()
