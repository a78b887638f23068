"""A real server on a free port whose servicers behave as a test wants."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lookalike.errors import InvalidInputError, Reason
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.server import ServerRunner, Service
from lookalike.runtime.settings import ServerSettings
from lookalike.v1 import catalog_pb2, catalog_pb2_grpc, search_pb2, search_pb2_grpc
from lookalike.wire.channel import open_channel

SERVICE = "lookalike.v1.SearchService"


class Panic(BaseException):
    """As PyO3 raises for a panic in Rust."""


@dataclass
class Probe(search_pb2_grpc.SearchServiceServicer, catalog_pb2_grpc.CatalogServiceServicer):
    """Answers GetServerInfo as ``behaviour`` says; a bulk load gets an answer for each request."""

    behaviour: str = "answer"
    reason: str = ""
    answer_bytes: int = 1
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def GetServerInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.behaviour == "refuse":
            raise InvalidInputError("k must be 1 to 1000", reason=Reason.FIELD_OUT_OF_RANGE, field="k")
        if self.behaviour == "break":
            raise RuntimeError("secret path")
        if self.behaviour == "panic":
            raise Panic("secret path")
        if self.behaviour == "not implemented":
            raise NotImplementedError
        if self.behaviour == "busy":
            for _ in range(20):
                time.sleep(0.0005)
                await asyncio.sleep(0.001)
        if self.behaviour == "block":
            self.behaviour = "answer"
            time.sleep(2)
        if self.behaviour == "wait":
            self.entered.set()
            await self.release.wait()
        if self.behaviour == "peer":
            return search_pb2.GetServerInfoResponse(version=context.peer())
        return search_pb2.GetServerInfoResponse(version="1" * self.answer_bytes)

    async def IngestItems(self, request_iterator: Any, context: Any) -> Any:  # noqa: N802
        async for _ in request_iterator:
            if self.behaviour == "panic":
                raise Panic("secret path")
            yield catalog_pb2.IngestItemsResponse(request_id="1" * self.answer_bytes)

    async def ready(self) -> str:
        return self.reason


@dataclass
class Running:
    """A started runner, its probe and a channel to it."""

    runner: ServerRunner
    probe: Probe
    channel: grpc.aio.Channel

    async def call(self, **options: Any) -> Any:
        stub = search_pb2_grpc.SearchServiceStub(self.channel)
        return await stub.GetServerInfo(search_pb2.GetServerInfoRequest(), **options)

    def stream(self) -> Any:
        """Opens a bulk load."""
        return catalog_pb2_grpc.CatalogServiceStub(self.channel).IngestItems()

    async def metrics(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.runner.metrics_port}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
        return {family.name: family for family in text_string_to_metric_families(text)}

    async def handled(self) -> dict[str, float]:
        """Calls by their code; codes that no call had are left out."""
        samples = (await self.metrics())["grpc_server_handled"].samples
        counts: dict[str, float] = {}
        for sample in samples:
            if sample.name.endswith("_total") and sample.value:
                code = sample.labels["grpc_code"]
                counts[code] = counts.get(code, 0) + sample.value
        return counts


Serve = Callable[..., Awaitable[Running]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server: ``await serve(max_concurrent_rpcs=1)``; keywords of ServerRunner go in `options`."""
    started: list[Running] = []

    async def start(options: dict[str, Any] | None = None, **settings: Any) -> Running:
        probe = Probe()

        def add(server: Any) -> None:
            search_pb2_grpc.add_SearchServiceServicer_to_server(probe, server)
            catalog_pb2_grpc.add_CatalogServiceServicer_to_server(probe, server)

        runner = ServerRunner(
            "probe",
            [Service(SERVICE, add, probe.ready)],
            ServerSettings(**{"drain_wait_seconds": 0, "stop_grace_seconds": 0} | settings),
            Metrics(),
            **options or {},
        )
        await runner.start()
        started.append(Running(runner, probe, open_channel(f"127.0.0.1:{runner.port}")))
        return started[-1]

    yield start
    for running in started:
        await running.channel.close()
        await running.runner.stop()
