"""The gRPC face of the hasher: convert, validate, call the shard, convert."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from hasher import convert
from hasher.generation import Generation
from hasher.identity import Identity
from hasher.log.base import Change
from hasher.metrics import HasherMetrics
from hasher.pools import Pool
from hasher.shard import Shard
from lookalike.collections import Spec
from lookalike.errors import InvalidInputError, Reason, UnavailableError
from lookalike.limits import MIB
from lookalike.runtime.context import CallContext
from lookalike.runtime.memory import MemoryWatch
from lookalike.v1 import hasher_pb2, hasher_pb2_grpc

# A page with vectors stays well below the limit of one message.
MAX_PAGE_BYTES = 8 * MIB
# Share of a call's remaining time that may be spent waiting, so that the answer still arrives in time.
_WAIT_SHARE = 0.9


class HasherServicer(hasher_pb2_grpc.HasherServiceServicer):
    """``lookalike.v1.HasherService`` but for searches, which :mod:`hasher.search_port` answers.

    Calls that are not here answer NOT_SUPPORTED_YET. Whatever takes more than moments is done in a thread of
    ``rows``, and conversion with it: a message may be 16 MiB, and the event loop has others to answer.

    Args:
        shard: What is served.
        rows: Threads.
        memory: Says whether there is any for more items.
        metrics: Takes the figures of every write.
        isa: The instruction set that the kernels use.
        position_wait_seconds: The longest wait for a position of the log.
    """

    def __init__(
        self,
        shard: Shard,
        rows: Pool,
        memory: MemoryWatch,
        metrics: HasherMetrics,
        *,
        isa: str,
        position_wait_seconds: float,
    ) -> None:
        self._shard = shard
        self._rows = rows
        self._memory = memory
        self._metrics = metrics
        self._isa = isa
        self._position_wait_seconds = position_wait_seconds

    async def Apply(  # noqa: N802 - the contract's name
        self,
        request: hasher_pb2.ApplyRequest,
        context: CallContext,
    ) -> hasher_pb2.ApplyResponse:
        """See the contract in ``hasher.proto``."""
        target = self._check_target(request)
        convert.check_request_id(request.request_id)
        match request.WhichOneof("change"):
            case "create":
                spec = Spec.from_message(request.create, "create")
                position = await asyncio.to_thread(self._create, request, spec, target)
                return hasher_pb2.ApplyResponse(position=position)
            case "write":
                return await self._write(request, target)
            case "drop":
                position = await asyncio.to_thread(self._drop, request.generation, target)
                return hasher_pb2.ApplyResponse(position=position)
            case _:
                raise InvalidInputError(
                    "change is missing: set create, write or drop",
                    reason=Reason.FIELD_MISSING,
                    field="change",
                )

    def _create(self, request: hasher_pb2.ApplyRequest, spec: Spec, target: Identity) -> int:
        self._shard.check_name(request.generation)
        self._shard.join(target.installation_id, request.generation)
        return self._shard.create(request.generation, spec, request.request_id)

    def _drop(self, name: str, target: Identity) -> int:
        self._shard.check_name(name)
        if self._shard.has(name):
            # What a shard without an installation holds may be another's; from now on it is this one's.
            self._shard.join(target.installation_id, name)
        return self._shard.drop(name)

    async def _write(self, request: hasher_pb2.ApplyRequest, target: Identity) -> hasher_pb2.ApplyResponse:
        shard = self._shard
        generation = shard.generation(request.generation)
        # Deletions go on: they are what gives memory back.
        if any(mutation.HasField("upsert") for mutation in request.write.mutations):
            self._memory.check("the shard")

        def convert_change() -> Change:
            start = time.perf_counter()
            try:
                return convert.change_of(request, generation.spec, shard.check_placement)
            finally:
                self._metrics.write_took("convert", time.perf_counter() - start)

        change = await self._rows.run(convert_change)
        # Another installation may have been faster, or there may have been none so far.
        if shard.identity.installation_id != target.installation_id:
            await asyncio.to_thread(shard.join, target.installation_id, request.generation)
        applied = await asyncio.wrap_future(generation.submit(change))
        return convert.applied_message(applied)

    async def Await(  # noqa: N802 - the contract's name
        self,
        request: hasher_pb2.AwaitRequest,
        context: CallContext,
    ) -> hasher_pb2.AwaitResponse:
        """See the contract in ``hasher.proto``."""
        generation = self._generation(request)
        convert.check_request_id(request.request_id)
        lane, position = request.lane, request.position
        await self._reach(generation, {lane: position}, "position", context)
        outcomes = await self._rows.run(lambda: generation.outcomes(request.request_id, lane, position))
        return convert.outcomes_message(outcomes)

    async def Get(  # noqa: N802 - the contract's name
        self,
        request: hasher_pb2.GetRequest,
        context: CallContext,
    ) -> hasher_pb2.GetResponse:
        """See the contract in ``hasher.proto``."""
        generation = self._generation(request)
        convert.check_get(request)

        def get() -> hasher_pb2.GetResponse:
            # Rows of other shards are not here; leaving them out would pass for "there is no such item".
            for i, item_id in enumerate(request.item_ids):
                self._shard.check_placement(item_id, generation.spec, f"item_ids[{i}]")
            rows = generation.get(list(request.item_ids), request.include_vectors)
            return hasher_pb2.GetResponse(rows=map(convert.row_message, rows))

        return await self._rows.run(get)

    async def List(  # noqa: N802 - the contract's name
        self,
        request: hasher_pb2.ListRequest,
        context: CallContext,
    ) -> hasher_pb2.ListResponse:
        """See the contract in ``hasher.proto``."""
        generation = self._generation(request)
        convert.check_list(request)

        def page() -> hasher_pb2.ListResponse:
            rows, more = generation.page(
                request.after_item_id, request.page_size, request.include_vectors, MAX_PAGE_BYTES
            )
            return hasher_pb2.ListResponse(rows=map(convert.row_message, rows), more=more)

        return await self._rows.run(page)

    async def Describe(  # noqa: N802 - the contract's name
        self,
        request: hasher_pb2.DescribeRequest,
        context: CallContext,
    ) -> hasher_pb2.DescribeResponse:
        """See the contract in ``hasher.proto``."""
        self._check_target(request)
        shard = self._shard
        generations = [shard.generation(request.generation)] if request.generation else shard.generations()

        def describe() -> hasher_pb2.DescribeResponse:
            return hasher_pb2.DescribeResponse(
                shard=shard.identity.shard,
                shard_count=shard.identity.shard_count,
                generations=[
                    convert.stats_message(one.stats(), one.profile() if request.with_profile else None)
                    for one in generations
                ],
                isa=self._isa,
                installation_id=shard.identity.installation_id,
                layout_epoch=shard.identity.layout_epoch,
            )

        return await self._rows.run(describe)

    def _check_target(self, request: Any) -> Identity:
        """Makes sure that a request is meant for this shard, as every one is to say."""
        self._shard.check_loaded()
        target = convert.target_of(request)
        self._shard.identity.check(target)
        return target

    def _generation(self, request: Any) -> Generation:
        self._check_target(request)
        return self._shard.generation(request.generation)

    async def _reach(
        self,
        generation: Generation,
        positions: Mapping[int, int],
        field: str,
        context: CallContext,
    ) -> None:
        if generation.has_reached(positions):
            return
        wait_seconds = self._position_wait_seconds
        remaining_seconds = context.time_remaining()
        if remaining_seconds is not None:
            wait_seconds = min(wait_seconds, remaining_seconds * _WAIT_SHARE)
        try:
            await asyncio.wait_for(asyncio.wrap_future(generation.wait_for(positions)), wait_seconds)
        except TimeoutError:
            raise UnavailableError(
                f"position {_words(positions)} is not reached: the generation is at"
                f" {_words(generation.positions)}",
                reason=Reason.LOG_POSITION_NOT_REACHED,
                field=field,
                metadata={"position": str(generation.position)},
            ) from None


def _words(positions: Mapping[int, int]) -> str:
    return ", ".join(
        f"{position} of lane {lane}" if lane else str(position)
        for lane, position in sorted(positions.items())
    )
