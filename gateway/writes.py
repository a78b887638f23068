"""Writing items: check, embed, spread over the shards, and acknowledge what is durable everywhere.

A write goes to every shard concerned under the caller's request id and the digest of what the caller sent, so
a repeated one is applied once on each shard, also where the first attempt reached some of them only.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.admission import Admission
from gateway.checks import check_batch, check_embedding, check_image, check_item_ids, check_request_id
from gateway.deadline import Deadline
from gateway.directory.base import Collection, resolve
from gateway.directory.lifecycle import shard_request_id
from gateway.directory.sqlite import Registry
from gateway.embedding import embed_items, moved
from gateway.fanout import Shards
from gateway.metrics import Telemetry
from gateway.peers import Embedder, Shard
from gateway.tokens import encode_log_position
from lookalike import limits
from lookalike.errors import InvalidInputError, LookalikeError, Reason
from lookalike.v1 import catalog_pb2, hasher_pb2, types_pb2
from lookalike.wire.status import status_of

_RETRY_ADVICE = "nothing is acknowledged: retry with the same request_id"


@dataclass(frozen=True)
class PreparedBatch:
    """A checked and embedded batch that waits to be written."""

    collection: Collection
    request_id: str
    content_digest: bytes
    results: list[catalog_pb2.UpsertResult]
    """One for each item; those that are not to be written have their error."""
    mutations: dict[int, hasher_pb2.Mutation]
    """Index of the item → what to write."""


class Writer:
    """Upserts and deletes items.

    Args:
        registry: Which collections there are.
        embedder: For items that come with a photo.
        shards: All of them.
        admission: How many writes run at once.
        telemetry: Counts what is written.
    """

    def __init__(
        self,
        registry: Registry,
        embedder: Embedder,
        shards: Shards,
        admission: Admission,
        telemetry: Telemetry,
    ) -> None:
        self.admission = admission
        self._registry = registry
        self._embedder = embedder
        self._shards = shards
        self._telemetry = telemetry

    def resolve(self, name: str) -> Collection:
        """Returns the collection that a write goes to; the errors are those of ``lifecycle.resolve``."""
        return resolve(self._registry, name)

    async def upsert(
        self, request: catalog_pb2.UpsertItemsRequest, deadline: Deadline
    ) -> catalog_pb2.UpsertItemsResponse:
        """Adds or replaces items; the errors are those that catalog.proto lists."""
        async with self.admission.slot(deadline):
            collection = self.resolve(request.collection)
            batch = await self.prepare(collection, request.request_id, request.items, "items", deadline)
            return await self.write(batch, deadline)

    async def prepare(
        self,
        collection: Collection,
        request_id: str,
        items: Sequence[catalog_pb2.UpsertItem],
        field: str,
        deadline: Deadline,
    ) -> PreparedBatch:
        """Checks and embeds a batch.

        Args:
            collection: Where it goes.
            request_id: The caller's; empty to have one made.
            items: The batch.
            field: Path of the items in the request, for errors.
            deadline: Of the request.

        Raises:
            InvalidInputError: Something is wrong with the batch as a whole, or with what is said of an item.
            FailedPreconditionError: A vector of another model.
            UnavailableError: The embedder cannot be reached.
        """
        check_request_id(request_id)
        check_batch(items, field)
        results = [catalog_pb2.UpsertResult(item_id=upsert.item.item_id) for upsert in items]
        vectors = await self._vectors(collection, items, field, deadline)
        mutations: dict[int, hasher_pb2.Mutation] = {}
        for index, (upsert, vector) in enumerate(zip(items, vectors, strict=True)):
            if isinstance(vector, LookalikeError):
                results[index].error.CopyFrom(status_of(vector))
                continue
            row = hasher_pb2.UpsertRow(item=upsert.item, vector_f32_le=vector)
            if_version = upsert.if_version if upsert.HasField("if_version") else None
            mutations[index] = hasher_pb2.Mutation(upsert=row, if_version=if_version)
        digest = await asyncio.to_thread(
            _digest, b"upsert", (upsert.SerializeToString(deterministic=True) for upsert in items)
        )
        return PreparedBatch(collection, request_id or uuid.uuid4().hex, digest, results, mutations)

    async def write(self, batch: PreparedBatch, deadline: Deadline) -> catalog_pb2.UpsertItemsResponse:
        """Writes a prepared batch to the shards.

        Raises:
            InvalidInputError: The request id was used with other content (``REQUEST_ID_REUSED``).
            UnavailableError: A shard concerned cannot be reached; nothing is acknowledged.
        """
        response = catalog_pb2.UpsertItemsResponse(results=batch.results)
        if not batch.mutations:
            return response
        indices = list(batch.mutations)
        ids = [batch.results[index].item_id for index in indices]
        answers, owners = await self._apply(
            batch.collection,
            (batch.request_id, batch.content_digest),
            ids,
            list(batch.mutations.values()),
            deadline,
        )
        written = 0
        for shard, places in owners.items():
            for place, outcome in zip(places, answers[shard].results, strict=True):
                result = response.results[indices[place]]
                if outcome.HasField("error"):
                    result.error.CopyFrom(outcome.error)
                else:
                    result.version = outcome.version
                    written += 1
        if written:
            response.receipt.CopyFrom(_receipt(batch.collection, answers))
        self._telemetry.count_written("upsert", written)
        return response

    async def delete(
        self, request: catalog_pb2.DeleteItemsRequest, deadline: Deadline
    ) -> catalog_pb2.DeleteItemsResponse:
        """Deletes items; the errors are those that catalog.proto lists."""
        check_request_id(request.request_id)
        ids = check_item_ids(request.item_ids)
        async with self.admission.slot(deadline):
            collection = self.resolve(request.collection)
            identity = (
                request.request_id or uuid.uuid4().hex,
                _digest(b"delete", (item_id.encode() for item_id in ids)),
            )
            mutations = [hasher_pb2.Mutation(delete_item_id=item_id) for item_id in ids]
            answers, _ = await self._apply(collection, identity, ids, mutations, deadline)
        deleted = sum(result.existed for answer in answers.values() for result in answer.results)
        self._telemetry.count_written("delete", deleted)
        return catalog_pb2.DeleteItemsResponse(
            deleted_count=deleted, missing_count=len(ids) - deleted, receipt=_receipt(collection, answers)
        )

    async def _vectors(
        self,
        collection: Collection,
        items: Sequence[catalog_pb2.UpsertItem],
        field: str,
        deadline: Deadline,
    ) -> list[bytes | LookalikeError]:
        """Returns each item's vector, or what is wrong with its photo or vector."""
        vectors: dict[int, bytes | LookalikeError] = {}
        images: dict[int, types_pb2.Image] = {}
        for index, upsert in enumerate(items):
            path = f"{field}[{index}]"
            try:
                if upsert.WhichOneof("source") == "image":
                    check_image(upsert.image, f"{path}.image")
                    images[index] = upsert.image
                else:
                    vectors[index] = check_embedding(upsert.embedding, collection.spec, f"{path}.embedding")
            except InvalidInputError as error:
                vectors[index] = error
        if images:
            embedded = await embed_items(self._embedder, list(images.values()), collection.spec, deadline)
            for index, outcome in zip(images, embedded, strict=True):
                if isinstance(outcome, LookalikeError):
                    outcome = moved(outcome, f"{field}[{index}].image")
                vectors[index] = outcome
        return [vectors[index] for index in range(len(items))]

    async def _apply(
        self,
        collection: Collection,
        identity: tuple[str, bytes],
        item_ids: Sequence[str],
        mutations: Sequence[hasher_pb2.Mutation],
        deadline: Deadline,
    ) -> tuple[dict[int, hasher_pb2.ApplyResponse], dict[int, list[int]]]:
        """Applies mutations on the shards that own the items; returns the answers and the owners."""
        request_id, content_digest = identity
        owners = self._shards.by_owner(item_ids, collection.spec.partition_count)
        requests = {
            shard: hasher_pb2.ApplyRequest(
                generation=collection.generation,
                request_id=shard_request_id(request_id, str(shard)),
                content_digest=content_digest,
                write=hasher_pb2.Mutations(
                    model_version=collection.spec.model_version,
                    mutations=[mutations[place] for place in places],
                ),
            )
            for shard, places in owners.items()
        }
        if any(request.ByteSize() > limits.MAX_MESSAGE_BYTES for request in requests.values()):
            raise InvalidInputError(
                "the items with their vectors are too large for one write: send fewer at once",
                reason=Reason.BATCH_TOO_LARGE,
                field="items",
            )

        async def apply(number: int, shard: Shard, timeout_seconds: float) -> hasher_pb2.ApplyResponse:
            return await shard.apply(requests[number], timeout_seconds=timeout_seconds)

        timeout_seconds = deadline.call_timeout_seconds("writing to the shards")
        outcome = await self._shards.call(owners, apply, timeout_seconds)
        if outcome.failures:
            # The collection may have been deleted meanwhile, and then no retry helps.
            self._registry.resolve(collection.name)
        return outcome.complete(_RETRY_ADVICE), owners


def _digest(operation: bytes, parts: Iterable[bytes]) -> bytes:
    """Returns the SHA-256 of an operation and the parts of its request, in their order."""
    digest = hashlib.sha256(operation)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def _receipt(collection: Collection, answers: dict[int, hasher_pb2.ApplyResponse]) -> types_pb2.WriteReceipt:
    positions = {shard: answer.position for shard, answer in answers.items()}
    return types_pb2.WriteReceipt(
        durability=types_pb2.DURABILITY_LOCAL_DISK,
        log_position=encode_log_position(collection.generation, positions),
    )
