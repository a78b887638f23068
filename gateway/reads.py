"""Reading items back: by id, page by page, and counted. What a lost shard holds is never called "missing"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.checks import check_item_ids
from gateway.deadline import Deadline
from gateway.directory.base import Collection, resolve
from gateway.directory.sqlite import Registry
from gateway.fanout import Shards
from gateway.peers import Shard
from gateway.tokens import decode_page, encode_page
from lookalike import limits
from lookalike.errors import InvalidInputError, LookalikeError, Reason
from lookalike.v1 import catalog_pb2, hasher_pb2, types_pb2
from lookalike.wire.vectors import WIRE_DTYPE

_ROWS_PER_CALL = 100
_RETRY_ADVICE = "the items cannot be read now: retry"


class Reader:
    """Reads items from the shards.

    Args:
        registry: Which collections there are.
        shards: All of them.
    """

    def __init__(self, registry: Registry, shards: Shards) -> None:
        self._registry = registry
        self._shards = shards

    async def get(
        self, request: catalog_pb2.GetItemsRequest, deadline: Deadline
    ) -> catalog_pb2.GetItemsResponse:
        """Returns items by id; the errors are those that catalog.proto lists."""
        ids = check_item_ids(request.item_ids)
        collection = resolve(self._registry, request.collection)
        owners = self._shards.by_owner(ids, collection.spec.partition_count)

        async def get(number: int, shard: Shard, timeout_seconds: float) -> list[hasher_pb2.Row]:
            rows: list[hasher_pb2.Row] = []
            own = [ids[index] for index in owners[number]]
            for start in range(0, len(own), _ROWS_PER_CALL):
                part = hasher_pb2.GetRequest(
                    generation=collection.generation,
                    item_ids=own[start : start + _ROWS_PER_CALL],
                    include_vectors=request.include_embeddings,
                )
                rows.extend((await shard.get_rows(part, timeout_seconds=timeout_seconds)).rows)
            return rows

        outcome = await self._shards.call(owners, get, deadline.call_timeout_seconds("reading the items"))
        found = {
            row.stored.item.item_id: row for rows in outcome.complete(_RETRY_ADVICE).values() for row in rows
        }
        response = catalog_pb2.GetItemsResponse(
            items=[_stored(found[item_id], collection) for item_id in ids if item_id in found],
            missing_item_ids=[item_id for item_id in ids if item_id not in found],
        )
        if response.ByteSize() > limits.MAX_MESSAGE_BYTES:
            raise InvalidInputError(
                "these items do not fit into one answer: ask for fewer at once",
                reason=Reason.BATCH_TOO_LARGE,
                field="item_ids",
            )
        return response

    async def list(
        self, request: catalog_pb2.ListItemsRequest, deadline: Deadline
    ) -> catalog_pb2.ListItemsResponse:
        """Returns one page of items, in the byte order of their ids.

        A page ends early where its items would not fit into one message.
        """
        if request.page_size > limits.MAX_PAGE_SIZE:
            raise InvalidInputError(
                f"page_size must be 1 to {limits.MAX_PAGE_SIZE}, or 0 for {limits.DEFAULT_PAGE_SIZE}",
                reason=Reason.FIELD_OUT_OF_RANGE,
                field="page_size",
            )
        collection = resolve(self._registry, request.collection)
        after = decode_page(request.page_token, collection.generation)
        cursors = [
            _Cursor(number, collection.generation, after, include_vectors=request.include_embeddings)
            for number in range(self._shards.count)
        ]
        response = catalog_pb2.ListItemsResponse()
        wanted, size = request.page_size or limits.DEFAULT_PAGE_SIZE, 0
        while True:
            await self._fill(cursors, min(wanted, _ROWS_PER_CALL), deadline)
            waiting = [cursor for cursor in cursors if cursor.rows]
            if not waiting:
                return response
            if len(response.items) == wanted or size > limits.BATCH_PAYLOAD_BYTES - limits.MIB:
                last = response.items[-1].item.item_id
                response.next_page_token = encode_page(collection.generation, last)
                return response
            first = min(waiting, key=lambda cursor: cursor.rows[-1].stored.item.item_id)
            stored = _stored(first.rows.pop(), collection)
            size += stored.ByteSize()
            response.items.append(stored)

    async def count(
        self, request: catalog_pb2.CountItemsRequest, deadline: Deadline
    ) -> catalog_pb2.CountItemsResponse:
        """Returns how many items a collection holds; the errors are those that catalog.proto lists."""
        collection = resolve(self._registry, request.collection)
        return catalog_pb2.CountItemsResponse(item_count=await self.count_in(collection, deadline))

    async def count_in(self, collection: Collection, deadline: Deadline) -> int:
        """Returns how many items a collection holds.

        Raises:
            UnavailableError: A shard cannot be reached.
        """
        request = hasher_pb2.DescribeRequest(generation=collection.generation)

        async def describe(_: int, shard: Shard, timeout_seconds: float) -> hasher_pb2.DescribeResponse:
            return await shard.describe(request, timeout_seconds=timeout_seconds)

        timeout_seconds = deadline.call_timeout_seconds("counting the items")
        answers = (await self._shards.call_all(describe, timeout_seconds)).complete(_RETRY_ADVICE)
        return sum(info.item_count for answer in answers.values() for info in answer.generations)

    async def _fill(self, cursors: Sequence[_Cursor], page_size: int, deadline: Deadline) -> None:
        """Fetches rows for each cursor that has none and is not at its end."""
        empty = {cursor.number: cursor for cursor in cursors if cursor.more and not cursor.rows}
        if not empty:
            return

        async def fill(number: int, shard: Shard, timeout_seconds: float) -> None:
            await empty[number].fetch(shard, page_size, timeout_seconds)

        outcome = await self._shards.call(empty, fill, deadline.call_timeout_seconds("listing the items"))
        outcome.complete(_RETRY_ADVICE)


class _Cursor:
    """Where one shard's part of a list stands."""

    def __init__(self, number: int, generation: str, after: str, *, include_vectors: bool) -> None:
        self.number = number
        self.rows: list[hasher_pb2.Row] = []
        """Fetched and not yet taken; the next one is last."""
        self.more = True
        self._generation = generation
        self._after = after
        self._include_vectors = include_vectors

    async def fetch(self, shard: Shard, page_size: int, timeout_seconds: float) -> None:
        request = hasher_pb2.ListRequest(
            generation=self._generation,
            after_item_id=self._after,
            page_size=page_size,
            include_vectors=self._include_vectors,
        )
        answer = await shard.list_rows(request, timeout_seconds=timeout_seconds)
        if answer.more and not answer.rows:
            raise LookalikeError(f"shard {self.number} answered a list without rows but with more to come")
        self.rows = list(reversed(answer.rows))
        self.more = answer.more
        if answer.rows:
            self._after = answer.rows[-1].stored.item.item_id


def _stored(row: hasher_pb2.Row, collection: Collection) -> types_pb2.StoredItem:
    """Returns a row as the public API shows it."""
    stored = row.stored
    if row.vector_f32_le:
        stored.embedding.values.extend(np.frombuffer(row.vector_f32_le, WIRE_DTYPE).tolist())
        stored.embedding.model_version = collection.spec.model_version
    return stored
