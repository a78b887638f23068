"""Reading items back: by id, page by page, and counted. What a lost shard holds is never called "missing"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from gateway.checks import check_item_ids, check_page_size
from gateway.deadline import Deadline
from gateway.directory.base import Collection, Directory
from gateway.fanout import Shards
from gateway.offload import off_loop
from gateway.outcome import Outcome
from gateway.peers import Shard
from gateway.tokens import decode_page, encode_page
from lookalike import limits
from lookalike.errors import DataLossError, InvalidInputError, LookalikeError, Reason
from lookalike.v1 import catalog_pb2, hasher_pb2, types_pb2
from lookalike.wire.vectors import set_values

T = TypeVar("T")

_ROWS_PER_CALL = 100
_FRAME_BYTES = 32
"""More than an item of an answer needs around what its row has."""
_RETRY_ADVICE = "the items cannot be read now: retry"


class Reader:
    """Reads items from the shards.

    Args:
        directory: Which collections there are.
        shards: All of them.
        max_message_bytes: An answer that is larger is refused, a page ends before.
    """

    def __init__(self, directory: Directory, shards: Shards, max_message_bytes: int) -> None:
        self._directory = directory
        self._shards = shards
        self._max_message_bytes = max_message_bytes
        # The row that fills a page may be as large as rows get.
        self._page_bytes = max(max_message_bytes - 2 * limits.MIB, max_message_bytes // 2)

    async def get(
        self, request: catalog_pb2.GetItemsRequest, deadline: Deadline
    ) -> catalog_pb2.GetItemsResponse:
        """Returns items by id; the errors are those that catalog.proto lists."""
        ids = check_item_ids(request.item_ids)
        collection = self._directory.resolve(request.collection)
        rows, size = await self._rows(collection, ids, request.include_embeddings, deadline)
        found = {row.stored.item.item_id: row for row in rows}
        return await off_loop(
            size,
            lambda: catalog_pb2.GetItemsResponse(
                items=[_stored(found[item_id], collection) for item_id in ids if item_id in found],
                missing_item_ids=[item_id for item_id in ids if item_id not in found],
            ),
        )

    async def _rows(
        self, collection: Collection, ids: Sequence[str], include_vectors: bool, deadline: Deadline
    ) -> tuple[list[hasher_pb2.Row], int]:
        """Returns the rows that exist, from calls whose answers fit into one message each, and their size.

        Raises:
            InvalidInputError: They do not fit into one answer (``BATCH_TOO_LARGE``); no more are fetched.
        """
        frame_bytes = _FRAME_BYTES + len(collection.spec.model_version)
        owners = self._shards.by_owner(ids, collection.spec.partition_count)
        rows: list[hasher_pb2.Row] = []
        size = 0
        for start in range(0, max(map(len, owners.values())), _ROWS_PER_CALL):
            requests = {
                number: hasher_pb2.GetRequest(
                    generation=collection.generation,
                    item_ids=[ids[index] for index in indices[start : start + _ROWS_PER_CALL]],
                    include_vectors=include_vectors,
                )
                for number, indices in owners.items()
                if indices[start:]
            }
            timeout_seconds = deadline.call_timeout_seconds("reading the items")
            outcome = await self._shards.ask(Shard.get_rows, requests, timeout_seconds)
            for answer in self._complete(outcome, collection).values():
                rows.extend(answer.rows)
                size += answer.ByteSize() + frame_bytes * len(answer.rows)
            if size > self._max_message_bytes:
                raise InvalidInputError(
                    "these items do not fit into one answer: ask for fewer at once",
                    reason=Reason.BATCH_TOO_LARGE,
                    field="item_ids",
                )
        return rows, size

    async def list(
        self, request: catalog_pb2.ListItemsRequest, deadline: Deadline
    ) -> catalog_pb2.ListItemsResponse:
        """Returns one page of items, in the byte order of their ids.

        A page ends early where its items would not fit into one message.
        """
        wanted = check_page_size(request.page_size)
        collection = self._directory.resolve(request.collection)
        after = decode_page(request.page_token, collection.generation)
        cursors = {number: _Cursor(after) for number in range(self._shards.count)}
        template = hasher_pb2.ListRequest(
            generation=collection.generation,
            page_size=min(wanted, _ROWS_PER_CALL),
            include_vectors=request.include_embeddings,
        )
        rows: list[hasher_pb2.Row] = []
        size, next_page_token = 0, ""
        while True:
            await self._fill(cursors, template, collection, deadline)
            waiting = [cursor for cursor in cursors.values() if cursor.rows]
            if not waiting:
                break
            if len(rows) == wanted or size > self._page_bytes:
                next_page_token = encode_page(collection.generation, rows[-1].stored.item.item_id)
                break
            first = min(waiting, key=lambda cursor: cursor.rows[-1].stored.item.item_id)
            rows.append(first.rows.pop())
            size += rows[-1].ByteSize()
        return await off_loop(
            size,
            lambda: catalog_pb2.ListItemsResponse(
                items=[_stored(row, collection) for row in rows], next_page_token=next_page_token
            ),
        )

    async def _fill(
        self,
        cursors: dict[int, _Cursor],
        template: hasher_pb2.ListRequest,
        collection: Collection,
        deadline: Deadline,
    ) -> None:
        """Fetches rows for each cursor that has none and is not at its end."""
        requests: dict[int, hasher_pb2.ListRequest] = {}
        for number, cursor in cursors.items():
            if cursor.more and not cursor.rows:
                requests[number] = hasher_pb2.ListRequest(after_item_id=cursor.after)
                requests[number].MergeFrom(template)
        if not requests:
            return
        timeout_seconds = deadline.call_timeout_seconds("listing the items")
        outcome = await self._shards.ask(Shard.list_rows, requests, timeout_seconds)
        for number, answer in self._complete(outcome, collection).items():
            if answer.more and not answer.rows:
                raise LookalikeError(f"shard {number} answered a list without rows but with more to come")
            cursors[number].take(answer)

    async def count(
        self, request: catalog_pb2.CountItemsRequest, deadline: Deadline
    ) -> catalog_pb2.CountItemsResponse:
        """Returns how many items a collection holds; the errors are those that catalog.proto lists."""
        collection = self._directory.resolve(request.collection)
        return catalog_pb2.CountItemsResponse(item_count=await self.count_in(collection, deadline))

    async def count_in(self, collection: Collection, deadline: Deadline) -> int:
        """Returns how many items a collection holds.

        Raises:
            UnavailableError: A shard cannot be reached.
            DataLossError: A shard has lost its data.
        """
        requests = self._shards.for_all(hasher_pb2.DescribeRequest(generation=collection.generation))
        timeout_seconds = deadline.call_timeout_seconds("counting the items")
        outcome = await self._shards.ask(Shard.describe, requests, timeout_seconds)
        answers = self._complete(outcome, collection)
        return sum(info.item_count for answer in answers.values() for info in answer.generations)

    def _complete(self, outcome: Outcome[T], collection: Collection) -> dict[int, T]:
        """Returns the answers of all shards about a collection."""
        try:
            return outcome.complete(_RETRY_ADVICE)
        except DataLossError:
            self._directory.check_current(collection)  # nothing is lost where it was deleted meanwhile
            raise


class _Cursor:
    """Where one shard's part of a list stands."""

    def __init__(self, after: str) -> None:
        self.rows: list[hasher_pb2.Row] = []
        """Fetched and not yet taken; the next one is last."""
        self.after = after
        self.more = True

    def take(self, answer: hasher_pb2.ListResponse) -> None:
        self.rows = list(reversed(answer.rows))
        self.more = answer.more
        if answer.rows:
            self.after = answer.rows[-1].stored.item.item_id


def _stored(row: hasher_pb2.Row, collection: Collection) -> types_pb2.StoredItem:
    """Returns a row as the public API shows it."""
    stored = row.stored
    if row.vector_f32_le:
        set_values(stored.embedding, row.vector_f32_le)
        stored.embedding.model_version = collection.spec.model_version
    return stored
