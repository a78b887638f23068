"""Writing items: check, embed, append to the log, and acknowledge what is durable everywhere."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import chain

from gateway.admission import Admission
from gateway.checks import (
    check_batch,
    check_batch_size,
    check_if_versions,
    check_image,
    check_item_ids,
    check_item_vector,
    check_request_id,
)
from gateway.deadline import Deadline
from gateway.directory.base import Collection, Directory
from gateway.embedding import embed_items, moved
from gateway.log.base import Appended, Write, WriteLog
from gateway.metrics import GatewayMetrics
from gateway.offload import off_loop
from gateway.peers import Embedder
from gateway.tokens import encode_log_position
from lookalike.collections import Spec
from lookalike.errors import DataLossError, InvalidInputError, LookalikeError, UnavailableError
from lookalike.runtime.memory import MemoryWatch
from lookalike.runtime.tracing import stage
from lookalike.v1 import catalog_pb2, hasher_pb2, types_pb2
from lookalike.wire.status import status_of
from lookalike.wire.writes import mutations_of


@dataclass(frozen=True)
class PreparedBatch:
    """A checked and embedded batch that waits to be written."""

    collection: Collection
    results: list[catalog_pb2.UpsertResult]
    """One for each item; those that are not to be written have their error."""
    places: list[int]
    """Index of each item that is to be written."""
    write: Write
    """Of those items, in the order of ``places``."""


@dataclass(frozen=True)
class _Checked:
    """A batch whose items are well formed."""

    mutations: list[bytes | None]
    """What to write of each item; None: it has a photo, or something is wrong with it."""
    problems: dict[int, LookalikeError]
    images: dict[int, types_pb2.Image]
    content_digest: bytes


class Writer:
    """Upserts and deletes items.

    Args:
        directory: Which collections there are.
        embedder: For items that come with a photo.
        write_log: Where writes become durable.
        admission: How many writes run at once.
        memory: Says whether the gateway has any for more items.
        metrics: Where writes are timed and counted.
    """

    def __init__(
        self,
        directory: Directory,
        embedder: Embedder,
        write_log: WriteLog,
        admission: Admission,
        memory: MemoryWatch,
        metrics: GatewayMetrics,
    ) -> None:
        self._memory = memory
        self._admission = admission
        self.directory = directory
        self._embedder = embedder
        self._log = write_log
        self._metrics = metrics

    @asynccontextmanager
    async def slot(self, deadline: Deadline) -> AsyncIterator[None]:
        """Waits for a slot and holds it; see :meth:`gateway.admission.Admission.slot`."""
        async with AsyncExitStack() as held:
            with self._metrics.writing("slot"), stage("slot"):
                await held.enter_async_context(self._admission.slot(deadline))
            yield

    async def upsert(
        self, request: catalog_pb2.UpsertItemsRequest, deadline: Deadline
    ) -> catalog_pb2.UpsertItemsResponse:
        """Adds or replaces items; the errors are those that catalog.proto lists."""
        async with self.slot(deadline):
            collection = self.directory.resolve(request.collection)
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
            OverloadedError: The gateway has no memory for them (``MEMORY_FULL``).
            UnavailableError: The embedder cannot be reached.
        """
        self._memory.check("the gateway")
        check_request_id(request_id)
        check_batch_size(items, field)
        payload_bytes = sum(upsert.ByteSize() for upsert in items)
        with self._metrics.writing("check"), stage("check"):
            checked = await off_loop(payload_bytes, lambda: _checked(items, collection.spec, field))
        mutations, problems = list(checked.mutations), dict(checked.problems)
        if checked.images:
            photos = list(checked.images.values())
            with self._metrics.writing("embed"), stage("embed"):
                embedded = await embed_items(self._embedder, photos, collection.spec, deadline)
            for index, outcome in zip(checked.images, embedded, strict=True):
                if isinstance(outcome, LookalikeError):
                    problems[index] = moved(outcome, f"{field}[{index}].image")
                else:
                    mutations[index] = _mutation(items[index], outcome)
        with self._metrics.writing("convert"), stage("convert"):
            results = [catalog_pb2.UpsertResult(item_id=upsert.item.item_id) for upsert in items]
            for index, problem in problems.items():
                results[index].error.CopyFrom(status_of(problem))
            written = {index: mutation for index, mutation in enumerate(mutations) if mutation is not None}
            write = Write(
                request_id or uuid.uuid4().hex,
                checked.content_digest,
                [results[index].item_id for index in written],
                list(written.values()),
            )
        return PreparedBatch(collection, results, list(written), write)

    async def write(self, batch: PreparedBatch, deadline: Deadline) -> catalog_pb2.UpsertItemsResponse:
        """Writes a prepared batch.

        Raises:
            InvalidInputError: The request id was used with other content (``REQUEST_ID_REUSED``).
            NotFoundError: The collection was deleted meanwhile.
            FailedPreconditionError: It was deleted and created again meanwhile (``GENERATION_MOVED``).
            UnavailableError: A shard concerned cannot be reached; nothing is acknowledged.
        """
        response = catalog_pb2.UpsertItemsResponse(results=batch.results)
        written = 0
        if not batch.places:
            self._metrics.written("upsert", written, len(batch.results))
            return response
        appended = await self._append(batch.collection, batch.write, deadline)
        for place, outcome in zip(batch.places, appended.outcomes, strict=True):
            result = response.results[place]
            if outcome.HasField("error"):
                result.error.CopyFrom(outcome.error)
            else:
                result.version = outcome.version
                written += 1
        if written:
            response.receipt.CopyFrom(self._receipt(batch.collection, appended))
        self._metrics.written("upsert", written, len(batch.results) - written)
        return response

    async def delete(
        self, request: catalog_pb2.DeleteItemsRequest, deadline: Deadline
    ) -> catalog_pb2.DeleteItemsResponse:
        """Deletes items; the errors are those that catalog.proto lists."""
        check_request_id(request.request_id)
        ids = check_item_ids(request.item_ids)
        if_versions = dict(request.if_versions)
        check_if_versions(if_versions, ids)
        content = (f"{item_id}\0{if_versions.get(item_id, '')}".encode() for item_id in ids)
        write = Write(
            request.request_id or uuid.uuid4().hex,
            _digest(b"delete", content),
            ids,
            [_encoded(hasher_pb2.Mutation(delete_item_id=i, if_version=if_versions.get(i))) for i in ids],
        )
        async with self.slot(deadline):
            collection = self.directory.resolve(request.collection)
            appended = await self._append(collection, write, deadline)
        response = catalog_pb2.DeleteItemsResponse(receipt=self._receipt(collection, appended))
        for item_id, outcome in zip(ids, appended.outcomes, strict=True):
            if outcome.HasField("error"):
                response.failures.add(item_id=item_id, error=outcome.error)
            elif outcome.existed:
                response.deleted_count += 1
            else:
                response.missing_count += 1
        self._metrics.written("delete", response.deleted_count, len(response.failures))
        return response

    async def _append(self, collection: Collection, write: Write, deadline: Deadline) -> Appended:
        try:
            with self._metrics.writing("append"), stage("append"):
                return await self._log.append(collection, write, deadline)
        except (UnavailableError, DataLossError):
            # The collection may have been deleted meanwhile, and then no retry helps.
            self.directory.check_current(collection)
            raise

    def _receipt(self, collection: Collection, appended: Appended) -> types_pb2.WriteReceipt:
        return types_pb2.WriteReceipt(
            durability=appended.durability,
            log_position=encode_log_position(collection.generation, self._log.log_id, appended.positions),
        )


def _checked(items: Sequence[catalog_pb2.UpsertItem], spec: Spec, field: str) -> _Checked:
    """Checks a batch, but not what is in its photos."""
    encoded = [upsert.SerializeToString(deterministic=True) for upsert in items]
    mutations = mutations_of(encoded, spec.dimension, spec.model_version)
    if None in mutations or len({upsert.item.item_id for upsert in items}) < len(items):
        check_batch(items, field)
    problems: dict[int, LookalikeError] = {}
    images: dict[int, types_pb2.Image] = {}
    for index in [index for index, mutation in enumerate(mutations) if mutation is None]:
        upsert, path = items[index], f"{field}[{index}]"
        try:
            if upsert.WhichOneof("source") == "image":
                check_image(upsert.image, f"{path}.image")
                images[index] = upsert.image
            else:
                vector = check_item_vector(upsert.embedding, spec, f"{path}.embedding")
                mutations[index] = _mutation(upsert, vector)
        except InvalidInputError as error:
            problems[index] = error
    return _Checked(mutations, problems, images, _digest(b"upsert", encoded))


def _mutation(upsert: catalog_pb2.UpsertItem, vector: bytes) -> bytes:
    """Returns what to write of an item with a vector."""
    row = hasher_pb2.UpsertRow(item=upsert.item, vector_f32_le=vector)
    if_version = upsert.if_version if upsert.HasField("if_version") else None
    return _encoded(hasher_pb2.Mutation(upsert=row, if_version=if_version))


def _encoded(mutation: hasher_pb2.Mutation) -> bytes:
    """Returns a mutation as :class:`Write` has it."""
    return hasher_pb2.Mutations(mutations=[mutation]).SerializeToString()


def _digest(operation: bytes, parts: Iterable[bytes]) -> bytes:
    """Returns the SHA-256 of an operation and the parts of its request, in their order."""
    sized = ((len(part).to_bytes(8, "little"), part) for part in parts)
    return hashlib.sha256(b"".join(chain((operation,), *sized))).digest()
