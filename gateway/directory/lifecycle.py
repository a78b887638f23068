"""Making and deleting collections on every shard, in steps that can be repeated after any failure."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import structlog

from gateway.deadline import Deadline
from gateway.directory.base import Collection, Directory, State, check_name
from gateway.fanout import Shards
from gateway.outcome import Outcome
from gateway.peers import Embedder, Shard
from lookalike.collections import (
    Spec,
    check_spec,
)
from lookalike.errors import (
    AlreadyExistsError,
    DeadlineError,
    InvalidInputError,
    NotFoundError,
    Reason,
    shown,
)
from lookalike.limits import MAX_REQUEST_ID_BYTES
from lookalike.v1 import collection_pb2, hasher_pb2

_REPEAT = "is not finished: repeat the call"
log = structlog.get_logger()


class Lifecycle:
    """Creates and deletes collections.

    Args:
        directory: Where they are recorded.
        embedder: Asked for what a spec leaves open.
        shards: All of them.
    """

    def __init__(self, directory: Directory, embedder: Embedder, shards: Shards) -> None:
        self._directory = directory
        self._embedder = embedder
        self._shards = shards
        self._one_at_a_time = asyncio.Lock()

    async def create(
        self, request: collection_pb2.CreateCollectionRequest, deadline: Deadline
    ) -> tuple[Collection, list[int]]:
        """Creates a collection on every shard; finishes it where an earlier call was interrupted.

        Returns:
            The collection, and the shards on which it was repaired.

        Raises:
            InvalidInputError: Bad name or spec.
            AlreadyExistsError: The name is taken by an alias or by a collection with another spec.
            UnavailableError: A shard, or the embedder for what the spec leaves open, cannot be reached.
            DeadlineError: The deadline passed before other changes of collections were done.
        """
        name, asked = check_name(request.name, "name"), request.spec
        check_spec(asked, "spec")
        async with self._turn(deadline):
            if self._directory.target_of(name):
                raise AlreadyExistsError(f"{shown(name)} is the name of an alias", field="name")
            found = self._directory.find(name)
            if found and found.state is State.DELETING:
                await self._drop(found, deadline)
                found = None
            if found is None:
                spec = await self._complete(asked, deadline)
                found = await self._directory.begin_create(name, spec)
            elif not found.spec.satisfies(asked):
                raise AlreadyExistsError(
                    f"collection {shown(name)} exists with another spec: use another name or delete it first",
                    field="spec",
                )
            if found.state is State.CREATING:
                await self._create_on(range(self._shards.count), found, deadline)
                return await self._directory.finish_create(name), []
            return found, await self._repair(found, deadline) if request.repair else []

    async def delete(self, name: str, deadline: Deadline) -> None:
        """Deletes a collection from every shard; finishes it where an earlier call was interrupted.

        Raises:
            NotFoundError: There is none of this name.
            FailedPreconditionError: An alias points to it.
            UnavailableError: A shard cannot be reached; the collection is no longer found, and the call
                can be repeated.
            DeadlineError: The deadline passed before other changes of collections were done.
        """
        check_name(name, "name")
        async with self._turn(deadline):
            if self._directory.target_of(name):
                raise NotFoundError(
                    f"{shown(name)} is an alias; to delete a collection, give its own name",
                    reason=Reason.COLLECTION_NOT_FOUND,
                    field="name",
                )
            await self._drop(await self._directory.begin_delete(name), deadline)

    @asynccontextmanager
    async def _turn(self, deadline: Deadline) -> AsyncIterator[None]:
        """Lets one change of collections run at a time."""
        try:
            async with asyncio.timeout(deadline.remaining_seconds()):
                await self._one_at_a_time.acquire()
        except TimeoutError:
            raise DeadlineError("the deadline passed while the call waited behind another one") from None
        try:
            yield
        finally:
            self._one_at_a_time.release()

    async def _repair(self, collection: Collection, deadline: Deadline) -> list[int]:
        """Creates the collection again, empty, on the shards that say they do not have it; returns these."""
        doing = "finding out which shards have lost the collection"
        request = hasher_pb2.DescribeRequest(generation=collection.generation)
        outcome = await self._shards.ask(
            Shard.describe, self._shards.for_all(request), deadline.call_timeout_seconds(doing, share=0.5)
        )
        lost = sorted(outcome.lost)
        unknown = {number: error for number, error in outcome.failures.items() if number not in lost}
        Outcome(outcome.answers, unknown).complete(f"{doing} {_REPEAT}")
        if lost:
            await self._create_on(lost, collection, deadline)
            log.warning("collection_repaired", collection=collection.name, empty_shards=lost)
        return lost

    async def _create_on(self, numbers: Iterable[int], collection: Collection, deadline: Deadline) -> None:
        request = hasher_pb2.ApplyRequest(
            generation=collection.generation,
            request_id=_request_id("create", collection),
            create=collection.spec.to_message(),
        )
        requests = self._shards.for_all(request)
        await self._apply({n: requests[n] for n in numbers}, deadline, "creating the collection")

    async def _drop(self, collection: Collection, deadline: Deadline) -> None:
        request = hasher_pb2.ApplyRequest(
            generation=collection.generation,
            request_id=_request_id("drop", collection),
            drop=hasher_pb2.DropGeneration(),
        )
        await self._apply(self._shards.for_all(request), deadline, "deleting the collection")
        await self._directory.finish_delete(collection.name)

    async def _apply(
        self, requests: Mapping[int, hasher_pb2.ApplyRequest], deadline: Deadline, doing: str
    ) -> None:
        outcome = await self._shards.ask(Shard.apply, requests, deadline.call_timeout_seconds(doing))
        outcome.complete(f"{doing} {_REPEAT}")

    async def _complete(self, asked: collection_pb2.CollectionSpec, deadline: Deadline) -> Spec:
        """Fills what the spec leaves open from the embedder's current model."""
        model_version, dimension = asked.model_version, asked.dimension
        if not model_version or not dimension:
            timeout_seconds = deadline.call_timeout_seconds("asking the embedder for its model", share=0.5)
            model = await self._embedder.get_model(timeout_seconds=timeout_seconds)
            if model_version and model_version != model.model_version:
                raise InvalidInputError(
                    f"spec.dimension must be set for model {model_version}, which is not the one that the"
                    f" embedder serves ({model.model_version})",
                    reason=Reason.FIELD_MISSING,
                    field="spec.dimension",
                )
            if dimension and dimension != model.embedding_dimension:
                raise InvalidInputError(
                    f"spec.dimension is {dimension}, but the embedder's model makes vectors of dimension"
                    f" {model.embedding_dimension}",
                    reason=Reason.DIMENSION_MISMATCH,
                    field="spec.dimension",
                )
            model_version, dimension = model.model_version, model.embedding_dimension
        return Spec.completed(asked, model_version, dimension)


def _request_id(change: str, collection: Collection) -> str:
    """Returns the request id of a change to a generation: the same each time, within the shards' limit."""
    request_id = f"{change}/{collection.generation}"
    if len(request_id.encode()) <= MAX_REQUEST_ID_BYTES:
        return request_id
    return hashlib.sha256(request_id.encode()).hexdigest()
