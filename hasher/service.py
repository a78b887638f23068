"""The gRPC face of the hasher: convert, validate, call the shard, convert."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

import grpc

from hasher import convert
from hasher.generation import Generation
from hasher.metrics import HasherMetrics
from hasher.shard import Shard
from lookalike.collections import Spec
from lookalike.errors import InvalidInputError, Reason, UnavailableError
from lookalike.limits import MIB
from lookalike.v1 import hasher_pb2, hasher_pb2_grpc

# A page with vectors stays well below the limit of one message.
MAX_PAGE_BYTES = 8 * MIB
# Share of a call's remaining time that may be spent waiting, so that the answer still arrives in time.
_WAIT_SHARE = 0.9
_Result = TypeVar("_Result")


class HasherServicer(hasher_pb2_grpc.HasherServiceServicer):
    """``lookalike.v1.HasherService``; calls that are not here answer NOT_SUPPORTED_YET.

    Args:
        shard: What is served.
        executor: Threads for searches and reads, so that none of them holds up the event loop.
        metrics: Told of every search.
        isa: The instruction set that the kernels use.
        position_wait_seconds: The longest wait for ``min_position``.
    """

    def __init__(
        self,
        shard: Shard,
        executor: Executor,
        metrics: HasherMetrics,
        *,
        isa: str,
        position_wait_seconds: float,
    ) -> None:
        self._shard = shard
        self._executor = executor
        self._metrics = metrics
        self._isa = isa
        self._position_wait_seconds = position_wait_seconds

    async def Apply(  # noqa: N802 - the contract's name
        self,
        request: hasher_pb2.ApplyRequest,
        context: grpc.aio.ServicerContext,
    ) -> hasher_pb2.ApplyResponse:
        """See the contract in ``hasher.proto``."""
        convert.request_id_of(request)
        name = request.generation
        match request.WhichOneof("change"):
            case "create":
                spec = Spec.from_message(request.create, "create")
                position = await asyncio.to_thread(self._shard.create, name, spec)
                return hasher_pb2.ApplyResponse(position=position)
            case "write":
                generation = self._shard.generation(name)
                change = await self._run(
                    lambda: convert.change_of(request, generation.spec, self._shard.check_placement)
                )
                applied = await asyncio.wrap_future(generation.submit(change))
                return convert.applied_message(applied)
            case "drop":
                position = await asyncio.to_thread(self._shard.drop, name)
                return hasher_pb2.ApplyResponse(position=position)
            case _:
                raise InvalidInputError(
                    "change is missing: set create, write or drop",
                    reason=Reason.FIELD_MISSING,
                    field="change",
                )

    async def Search(  # noqa: N802 - the contract's name
        self,
        request: hasher_pb2.HasherServiceSearchRequest,
        context: grpc.aio.ServicerContext,
    ) -> hasher_pb2.HasherServiceSearchResponse:
        """See the contract in ``hasher.proto``."""
        generation = self._shard.generation(request.generation)
        query = convert.query_of(request, generation.spec)
        await self._reach(generation, request.min_positions.get(0, 0), context.time_remaining())
        answer = await self._run(lambda: generation.search(query))
        self._metrics.searched(answer.seconds, sum(answer.codes_scanned))
        return convert.answer_message(answer)

    async def Get(  # noqa: N802 - the contract's name
        self,
        request: hasher_pb2.GetRequest,
        context: grpc.aio.ServicerContext,
    ) -> hasher_pb2.GetResponse:
        """See the contract in ``hasher.proto``."""
        generation = self._shard.generation(request.generation)
        convert.check_get(request)
        # Rows of other shards are not here; saying nothing of them would pass for "there is no such item".
        for i, item_id in enumerate(request.item_ids):
            self._shard.check_placement(item_id, generation.spec, f"item_ids[{i}]")
        rows = await self._run(lambda: generation.get(list(request.item_ids), request.include_vectors))
        return hasher_pb2.GetResponse(rows=map(convert.row_message, rows))

    async def List(  # noqa: N802 - the contract's name
        self,
        request: hasher_pb2.ListRequest,
        context: grpc.aio.ServicerContext,
    ) -> hasher_pb2.ListResponse:
        """See the contract in ``hasher.proto``."""
        generation = self._shard.generation(request.generation)
        convert.check_list(request)
        rows, more = await self._run(
            lambda: generation.page(
                request.after_item_id, request.page_size, request.include_vectors, MAX_PAGE_BYTES
            )
        )
        return hasher_pb2.ListResponse(rows=map(convert.row_message, rows), more=more)

    async def Describe(  # noqa: N802 - the contract's name
        self,
        request: hasher_pb2.DescribeRequest,
        context: grpc.aio.ServicerContext,
    ) -> hasher_pb2.DescribeResponse:
        """See the contract in ``hasher.proto``."""
        shard = self._shard
        shard.check_loaded()
        generations = [shard.generation(request.generation)] if request.generation else shard.generations()
        return hasher_pb2.DescribeResponse(
            shard=shard.number,
            shard_count=shard.count,
            generations=[convert.stats_message(generation.stats()) for generation in generations],
            isa=self._isa,
        )

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _reach(self, generation: Generation, position: int, remaining_seconds: float | None) -> None:
        if position <= generation.position:
            return
        wait_seconds = self._position_wait_seconds
        if remaining_seconds is not None:
            wait_seconds = min(wait_seconds, remaining_seconds * _WAIT_SHARE)
        try:
            await asyncio.wait_for(asyncio.wrap_future(generation.wait_for(position)), wait_seconds)
        except TimeoutError:
            raise UnavailableError(
                f"position {position} is not reached: the generation is at {generation.position}",
                reason=Reason.LOG_POSITION_NOT_REACHED,
                field="min_positions",
                metadata={"position": str(generation.position)},
            ) from None
