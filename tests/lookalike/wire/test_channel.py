"""Channels between the services, to real servers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import grpc
import pytest

from lookalike.v1 import search_pb2, search_pb2_grpc
from lookalike.wire.channel import open_channel


class Named(search_pb2_grpc.SearchServiceServicer):
    """Says which server it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def GetServerInfo(  # noqa: N802
        self, request: search_pb2.GetServerInfoRequest, context: grpc.aio.ServicerContext
    ) -> search_pb2.GetServerInfoResponse:
        return search_pb2.GetServerInfoResponse(version=self.name)


@pytest.fixture
async def servers() -> AsyncIterator[dict[str, grpc.aio.Server]]:
    """Three servers, by their addresses."""
    started = {}
    for number in range(3):
        server = grpc.aio.server()
        search_pb2_grpc.add_SearchServiceServicer_to_server(Named(str(number)), server)
        started[f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"] = server
        await server.start()
    yield started
    for server in started.values():
        await server.stop(None)


async def ask(channel: grpc.aio.Channel, times: int) -> Counter[str]:
    """How many calls each server answered."""
    stub = search_pb2_grpc.SearchServiceStub(channel)
    answers = [await stub.GetServerInfo(search_pb2.GetServerInfoRequest()) for _ in range(times)]
    return Counter(answer.version for answer in answers)


@pytest.fixture
async def far(servers: dict[str, grpc.aio.Server]) -> AsyncIterator[str]:
    """The address of a server, 150 ms away in either direction."""

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            await asyncio.sleep(0.15)
            sink.write(data)
        sink.close()
        await sink.wait_closed()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = next(iter(servers)).split(":")
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(carry(reader, back), carry(there, writer), return_exceptions=True)

    connections: list[asyncio.Task[None]] = []
    link = await asyncio.start_server(
        lambda *streams: connections.append(asyncio.create_task(connect(*streams))), "127.0.0.1", 0
    )
    yield f"127.0.0.1:{link.sockets[0].getsockname()[1]}"
    link.close()
    await asyncio.gather(*connections)


async def test_a_far_peer_fails_no_first_call(far: str) -> None:
    async with open_channel(far) as channel:
        assert await ask(channel, 1)


async def test_a_balanced_channel_calls_all_addresses_in_turn(servers: dict[str, grpc.aio.Server]) -> None:
    async with open_channel(f"ipv4:{','.join(servers)}", balanced=True) as channel:
        while len(await ask(channel, 3)) < 3:  # connections are made one by one
            pass
        assert set((await ask(channel, 30)).values()) == {10}


async def test_an_address_that_is_gone_fails_no_call(servers: dict[str, grpc.aio.Server]) -> None:
    async with open_channel(f"ipv4:{','.join(servers)}", balanced=True) as channel:
        while len(await ask(channel, 3)) < 3:
            pass
        await next(iter(servers.values())).stop(5)
        assert len(await ask(channel, 30)) == 2
