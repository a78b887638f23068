"""Real servers that answer searches for fake shards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.peers import UnreachableError
from lookalike.errors import LookalikeError
from lookalike.v1 import hasher_pb2, hasher_pb2_grpc
from lookalike.wire.status import DETAILS_KEY, code_of, status_of

if TYPE_CHECKING:
    from conftest import FakeShard

_FOR_EVER = 1000.0


class SearchPort(hasher_pb2_grpc.HasherServiceServicer, health_pb2_grpc.HealthServicer):
    """Answers searches and health checks on a free port, on behalf of a fake shard."""

    def __init__(self, shard: FakeShard) -> None:
        self._shard = shard
        shard.search_port = self
        self.hangs = False
        self._server = grpc.aio.server()
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        hasher_pb2_grpc.add_HasherServiceServicer_to_server(self, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self, self._server)

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        if self.hangs or self._shard.hangs:
            await asyncio.Event().wait()
        return health_pb2.HealthCheckResponse()

    async def Search(  # noqa: N802
        self, request: hasher_pb2.HasherServiceSearchRequest, context: grpc.aio.ServicerContext
    ) -> hasher_pb2.HasherServiceSearchResponse:
        try:
            return await self._shard.search(request, timeout_seconds=context.time_remaining() or _FOR_EVER)
        except UnreachableError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, error.message)
        except LookalikeError as error:
            status = status_of(error)
            await context.abort(code_of(error), status.message, ((DETAILS_KEY, status.SerializeToString()),))
        raise AssertionError


async def open_ports(shards: Sequence[FakeShard], stack: AsyncExitStack) -> list[list[str]]:
    """Opens the search port of each shard until the stack ends; returns shard → its replicas' addresses."""
    ports = [SearchPort(shard) for shard in shards]
    for port in ports:
        await port.start()
        stack.push_async_callback(port.stop)
    return [[port.address] for port in ports]
