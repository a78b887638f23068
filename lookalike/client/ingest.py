"""The bulk-load protocol without its transport: what to send next, and what an answer means.

Both clients drive one :class:`IngestPlan`: they open a stream, send what the plan gives, hand it every
answer, and ask it what to do when the stream ends. A batch keeps its request id until it is answered, so
that sending it again on a new stream writes nothing twice.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable

from lookalike.client import answers, checks, requests
from lookalike.client.types import IngestProgress, IngestReport, Item, ItemResult, WriteReceipt
from lookalike.errors import (
    DeadlineError,
    FailedPreconditionError,
    LookalikeError,
    Reason,
    RetryableError,
    UnavailableError,
    shown,
)
from lookalike.limits import MIB
from lookalike.v1 import catalog_pb2

FIRST_BATCH_SIZE = 32
MAX_RETRY_SECONDS = 540.0
"""Servers keep a request id for at least ten minutes: later, a batch that is sent again is a new write."""
# One photo of the allowed 12 MiB still fits, and a whole batch stays below the message limit of 16 MiB.
BATCH_BYTES = 13 * MIB
_FIRST_DELAY_SECONDS = 0.1
_LAST_DELAY_SECONDS = 3.0

OnProgress = Callable[[IngestProgress], None]


class IngestPlan:
    """The state of one bulk load over as many streams as it takes.

    Args:
        items: What to load; taken lazily, photos are read when their batch is built.
        collection: A collection's name or an alias.
        max_in_flight: Batches sent and not yet answered, at least 1.
        retry_seconds: How long to keep trying without any progress; more than 9 minutes count as that.
        on_progress: Called after every answer.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        items: Iterable[Item],
        collection: str,
        *,
        max_in_flight: int,
        retry_seconds: float,
        on_progress: OnProgress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._items = iter(checks.many(items, "items", "Item"))
        self._collection = checks.text(collection, "collection")
        self._max_in_flight = max(1, checks.integer(max_in_flight, "max_in_flight"))
        self._retry_seconds = min(checks.patience(retry_seconds, "retry_seconds"), MAX_RETRY_SECONDS)
        self._on_progress = on_progress
        self._clock = clock
        self._batch_size = FIRST_BATCH_SIZE
        self._held_back: catalog_pb2.UpsertItem | None = None
        self._exhausted = False
        self._in_flight: dict[str, catalog_pb2.IngestBatch] = {}
        self._resend: deque[catalog_pb2.IngestBatch] = deque()
        self._resolved = ""
        self._generation = ""
        self._draining = False
        self._broken_streams = 0
        self._reconnects = 0
        self._stuck_since: float | None = None
        self._acknowledged_count = 0
        self._failures: list[ItemResult] = []
        self._receipt: WriteReceipt | None = None

    @property
    def done(self) -> bool:
        """Whether every item is durable or refused."""
        return self._exhausted and not self._in_flight and not self._resend

    @property
    def stream_done(self) -> bool:
        """Whether this stream has nothing more to do: all is answered, and nothing may follow."""
        return not self._in_flight and (self._draining or self.done)

    def open_stream(self) -> catalog_pb2.IngestItemsRequest:
        """Returns the first message of a new stream."""
        self._draining = False
        start = catalog_pb2.IngestStart(collection=self._collection, generation=self._generation)
        return catalog_pb2.IngestItemsRequest(start=start)

    def next_messages(self) -> list[catalog_pb2.IngestItemsRequest]:
        """Returns the batches to send now: unanswered ones first, then new ones."""
        messages = []
        while not self._draining and len(self._in_flight) < self._max_in_flight:
            batch = self._resend.popleft() if self._resend else self._new_batch()
            if batch is None:
                break
            self._in_flight[batch.request_id] = batch
            messages.append(catalog_pb2.IngestItemsRequest(batch=batch))
        return messages

    def receive(self, response: catalog_pb2.IngestItemsResponse) -> None:
        """Takes one answer of the server.

        Raises:
            FailedPreconditionError: A new stream goes to another generation than the load began with
                (``GENERATION_MOVED``).
        """
        self._pin(response)
        if response.next_batch_size:
            self._batch_size = response.next_batch_size
        self._draining = self._draining or response.drain
        # An answer to a batch that is not in flight came twice; it counts once.
        if self._in_flight.pop(response.request_id, None) is not None:
            self._stuck_since = None
            self._broken_streams = 0
            self._acknowledged_count += len(response.acknowledged_item_ids)
            self._failures += map(answers.item_failure, response.failures)
            if response.HasField("receipt"):
                self._receipt = answers.write_receipt(response.receipt)
        if self._on_progress:
            self._on_progress(IngestProgress(self._acknowledged_count, len(self._failures), self._reconnects))

    def _pin(self, response: catalog_pb2.IngestItemsResponse) -> None:
        """Keeps the load in the generation that its first stream was answered with."""
        if not response.generation:
            return
        if self._generation and response.generation != self._generation:
            raise FailedPreconditionError(
                f"{shown(self._collection)} means {shown(response.generation)} now, but the load began with"
                f" {shown(self._generation)}: begin it again",
                reason=Reason.GENERATION_MOVED,
                field="collection",
            )
        self._resolved, self._generation = response.collection, response.generation

    def stream_ended(self, error: LookalikeError | None) -> float:
        """Decides what follows the end of a stream.

        Args:
            error: Why it broke; None if the server ended it in order.

        Returns:
            Seconds to wait before a new stream is opened; 0 when the load is done.

        Raises:
            LookalikeError: ``error``, where trying again cannot help or went on for too long.
        """
        self._resend.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()
        if error is None and self.done:
            return 0.0
        error = error or UnavailableError(
            "the server ended the bulk load before all items were answered", reason=Reason.GATEWAY_UNREACHABLE
        )
        if not isinstance(error, RetryableError | DeadlineError):
            raise error
        now = self._clock()
        self._stuck_since = now if self._stuck_since is None else self._stuck_since
        if now - self._stuck_since > self._retry_seconds:
            raise error
        self._reconnects += 1
        delay = min(_FIRST_DELAY_SECONDS * 2.0**self._broken_streams, _LAST_DELAY_SECONDS)
        self._broken_streams += 1
        return max(delay, error.retry_after_seconds) if isinstance(error, RetryableError) else delay

    def report(self) -> IngestReport:
        """Returns the outcome so far."""
        return IngestReport(
            acknowledged_count=self._acknowledged_count,
            failures=tuple(self._failures),
            reconnects=self._reconnects,
            receipt=self._receipt,
            collection=self._resolved,
            generation=self._generation,
        )

    def _new_batch(self) -> catalog_pb2.IngestBatch | None:
        batch = catalog_pb2.IngestBatch(request_id=str(uuid.uuid4()))
        batch_bytes = 0
        ids: set[str] = set()
        while len(batch.items) < self._batch_size:
            message = self._next_item()
            if message is None:
                break
            message_bytes = message.ByteSize()
            # One request may not name an item twice, so a repeated id waits for the next batch.
            if batch.items and (batch_bytes + message_bytes > BATCH_BYTES or message.item.item_id in ids):
                self._held_back = message
                break
            ids.add(message.item.item_id)
            batch.items.append(message)
            batch_bytes += message_bytes
        return batch if batch.items else None

    def _next_item(self) -> catalog_pb2.UpsertItem | None:
        """Returns the next item that can be sent; one with an unreadable photo counts as refused."""
        if self._held_back is not None:
            message, self._held_back = self._held_back, None
            return message
        for item in self._items:
            try:
                return requests.upsert_item(item)
            except LookalikeError as error:
                item_id = item.item_id if isinstance(item, Item) else ""
                self._failures.append(ItemResult(str(item_id), error=error))
        self._exhausted = True
        return None
