"""Making and deleting collections on every shard, in steps that can be repeated after any failure."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Final

from gateway.deadline import Deadline
from gateway.fanout import Shards
from gateway.ports import Embedder, Shard
from gateway.registry import Collection, Registry, Spec, State
from lookalike.errors import AlreadyExistsError, InvalidInputError, NotFoundError, Reason
from lookalike.limits import (
    CODE_BITS,
    DIMENSIONS,
    MAX_MODEL_VERSION_BYTES,
    MAX_PARTITION_COUNT,
    MAX_REQUEST_ID_BYTES,
)
from lookalike.v1 import collection_pb2, hasher_pb2

DEFAULT_COLLECTION: Final = "default"
DEFAULT_BITS: Final = 256
DEFAULT_PARTITION_COUNT: Final = 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def check_name(name: str, field: str) -> str:
    """Returns a well-formed name of a collection or an alias.

    Raises:
        InvalidInputError: It is none.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{field} must be 1 to 63 characters of a-z, 0-9, - and _, starting with a letter or digit",
            field=field,
        )
    return name


def resolve(registry: Registry, name: str, field: str = "collection") -> Collection:
    """Returns the collection that a request means; without a name, the one named "default".

    Args:
        registry: Which collections there are.
        name: Of a collection or an alias.
        field: Path of the name in the request, for errors.

    Raises:
        InvalidInputError: The name is malformed.
        NotFoundError: There is no such collection or alias (``COLLECTION_NOT_FOUND``).
    """
    return registry.resolve(check_name(name or DEFAULT_COLLECTION, field), field)


def shard_request_id(*parts: str) -> str:
    """Returns a request id made of parts, which is the same each time and fits the shards' limit."""
    joined = "/".join(parts)
    if len(joined.encode()) <= MAX_REQUEST_ID_BYTES:
        return joined
    return hashlib.sha256(joined.encode()).hexdigest()


class Lifecycle:
    """Creates and deletes collections.

    Args:
        registry: Where they are recorded.
        embedder: Asked for what a spec leaves open.
        shards: All of them.
    """

    def __init__(self, registry: Registry, embedder: Embedder, shards: Shards) -> None:
        self._registry = registry
        self._embedder = embedder
        self._shards = shards
        self._one_at_a_time = asyncio.Lock()

    async def create(self, name: str, asked: collection_pb2.CollectionSpec, deadline: Deadline) -> Collection:
        """Creates a collection on every shard; finishes it where an earlier call was interrupted.

        Raises:
            InvalidInputError: Bad name or spec.
            AlreadyExistsError: The name is taken by an alias or by a collection with another spec.
            UnavailableError: A shard, or the embedder for what the spec leaves open, cannot be reached.
        """
        check_name(name, "name")
        _check_spec(asked)
        async with self._one_at_a_time:
            if self._registry.target_of(name):
                raise AlreadyExistsError(f'"{name}" is the name of an alias', field="name")
            found = self._registry.find(name)
            if found and found.state is State.DELETING:
                await self._drop(found, deadline)
                found = None
            if found is None:
                spec = await self._complete(asked, deadline)
                found = self._registry.begin_create(name, spec)
            elif not _fits(asked, found.spec):
                raise AlreadyExistsError(
                    f'collection "{name}" exists with another spec: use another name, or delete it first',
                    field="spec",
                )
            if found.state is State.CREATING:
                await self._create_on_shards(found, deadline)
                self._registry.finish_create(name)
            return self._registry.resolve(name)

    async def delete(self, name: str, deadline: Deadline) -> None:
        """Deletes a collection from every shard; finishes it where an earlier call was interrupted.

        Raises:
            NotFoundError: There is none of this name.
            FailedPreconditionError: An alias points to it.
            UnavailableError: A shard cannot be reached; the collection is no longer found, and the call
                can be repeated.
        """
        check_name(name, "name")
        async with self._one_at_a_time:
            if self._registry.target_of(name):
                raise NotFoundError(
                    f'"{name}" is an alias; to delete a collection, give its own name',
                    reason=Reason.COLLECTION_NOT_FOUND,
                    field="name",
                )
            await self._drop(self._registry.begin_delete(name), deadline)

    async def _create_on_shards(self, collection: Collection, deadline: Deadline) -> None:
        request = hasher_pb2.ApplyRequest(
            generation=collection.generation,
            request_id=shard_request_id("create", collection.generation),
            create=spec_message(collection.spec),
        )
        await self._apply_everywhere(request, deadline, "creating the collection")

    async def _drop(self, collection: Collection, deadline: Deadline) -> None:
        request = hasher_pb2.ApplyRequest(
            generation=collection.generation,
            request_id=shard_request_id("drop", collection.generation),
            drop=hasher_pb2.DropGeneration(),
        )
        await self._apply_everywhere(request, deadline, "deleting the collection")
        self._registry.finish_delete(collection.name)

    async def _apply_everywhere(
        self, request: hasher_pb2.ApplyRequest, deadline: Deadline, doing: str
    ) -> None:
        async def apply(_: int, shard: Shard, timeout_seconds: float) -> hasher_pb2.ApplyResponse:
            return await shard.apply(request, timeout_seconds=timeout_seconds)

        outcome = await self._shards.call_all(apply, deadline.call_timeout_seconds(doing))
        outcome.complete(f"{doing} is not finished: repeat the call")

    async def _complete(self, asked: collection_pb2.CollectionSpec, deadline: Deadline) -> Spec:
        """Fills what the spec leaves open from the embedder's present model."""
        model_version, dimension = asked.model_version, asked.dimension
        if not model_version or not dimension:
            timeout_seconds = deadline.call_timeout_seconds("asking the embedder for its model")
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
        return Spec(
            model_version,
            dimension,
            asked.bits or DEFAULT_BITS,
            asked.partition_count or DEFAULT_PARTITION_COUNT,
        )


def spec_message(spec: Spec) -> collection_pb2.CollectionSpec:
    """Returns the spec as a message."""
    return collection_pb2.CollectionSpec(
        model_version=spec.model_version,
        dimension=spec.dimension,
        bits=spec.bits,
        partition_count=spec.partition_count,
    )


def _check_spec(spec: collection_pb2.CollectionSpec) -> None:
    problem = ""
    if len(spec.model_version.encode()) > MAX_MODEL_VERSION_BYTES:
        field, problem = "spec.model_version", f"must have at most {MAX_MODEL_VERSION_BYTES} bytes"
    elif spec.dimension and spec.dimension not in DIMENSIONS:
        field, problem = "spec.dimension", "must be 2 to 4096, or 0 for that of the embedder's model"
    elif spec.bits and spec.bits not in CODE_BITS:
        field, problem = "spec.bits", f"must be a multiple of 64 from 64 to 2048, or 0 for {DEFAULT_BITS}"
    elif spec.partition_count > MAX_PARTITION_COUNT:
        field = "spec.partition_count"
        problem = f"must be 1 to {MAX_PARTITION_COUNT}, or 0 for {DEFAULT_PARTITION_COUNT}"
    if problem:
        raise InvalidInputError(f"{field} {problem}", reason=Reason.FIELD_OUT_OF_RANGE, field=field)


def _fits(asked: collection_pb2.CollectionSpec, spec: Spec) -> bool:
    """Whether a request could have made a collection.

    An open model fits any: the embedder's model may have changed since the first call.
    """
    return (
        asked.model_version in ("", spec.model_version)
        and asked.dimension in (0, spec.dimension)
        and (asked.bits or DEFAULT_BITS) == spec.bits
        and (asked.partition_count or DEFAULT_PARTITION_COUNT) == spec.partition_count
    )
