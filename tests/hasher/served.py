"""A hasher served in this process, and a client that fills in what most requests have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from deploy.local.hasher import HasherStub
from hasher.config import HasherSettings
from hasher.metrics import HasherMetrics
from hasher.pools import Pool
from hasher.search_port import SearchPort
from hasher.service import HasherServicer
from hasher.shard import LOADING, Shard
from hasher.state import watch
from lookalike.errors import LookalikeError
from lookalike.runtime.memory import MemoryWatch
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.server import ServerRunner, Service
from lookalike.v1 import collection_pb2, hasher_pb2, hasher_pb2_grpc, types_pb2
from lookalike.wire.channel import open_channel
from lookalike.wire.status import error_from_rpc
from lookalike.wire.vectors import to_bytes

Code = grpc.StatusCode
SPEC = collection_pb2.CollectionSpec(
    model_version="model-1",
    dimension=16,
    bits=64,
    partition_count=64,
    rerank=collection_pb2.RERANK_PRECISION_F32,
)


class TargetedStub:
    """A stub whose requests say which shard they are meant for, where they do not say so themselves."""

    def __init__(self, stub: Any, target: Any) -> None:
        self._stub, self._target = stub, target

    def __getattr__(self, method: str) -> Any:
        def call(request: Any, **options: Any) -> Any:
            if not request.HasField("target"):
                request.target.CopyFrom(self._target)
            return getattr(self._stub, method)(request, **options)

        return call


class Client:
    """Calls the server."""

    def __init__(self, channels: Any, target: Any, metrics: Metrics, shard: Shard) -> None:
        self.plain_stub = HasherStub(*channels)
        self.stub = TargetedStub(self.plain_stub, target)
        self.port_stub = TargetedStub(hasher_pb2_grpc.HasherServiceStub(channels[1]), target)
        self.port_channel = channels[1]
        self.target = target
        self.metrics = metrics
        self.shard = shard
        self.calls = 0
        self.rerank = ""
        self.stop: Callable[[], Awaitable[None]]

    def next_id(self) -> str:
        self.calls += 1
        return f"request-{self.calls}"

    async def create(self, generation: str = "g", **spec: Any) -> Any:
        message = collection_pb2.CollectionSpec()
        message.CopyFrom(SPEC)
        message.MergeFrom(collection_pb2.CollectionSpec(**spec))
        return await self.stub.Apply(
            hasher_pb2.ApplyRequest(generation=generation, request_id=f"create-{generation}", create=message)
        )

    async def write(self, *mutations: Any, request_id: str = "", model: str = "model-1") -> Any:
        request = hasher_pb2.ApplyRequest(generation="g", request_id=request_id or self.next_id())
        request.write.model_version = model
        request.write.mutations.extend(mutations)
        return await self.stub.Apply(request)

    async def search(self, vectors: Any, k: int = 5, timeout: float = 10, **fields: Any) -> Any:
        values: dict[str, Any] = {"generation": "g", "model_version": "model-1", **fields}
        data = vectors if isinstance(vectors, bytes) else to_bytes(vectors)
        request = hasher_pb2.HasherServiceSearchRequest(vectors_f32_le=data, k=k, **values)
        return await self.stub.Search(request, timeout=timeout)


def upsert(rows: Any, item_id: str, product_id: str = "", **fields: Any) -> Any:
    item = types_pb2.Item(
        item_id=item_id,
        product_id=product_id,
        title=f"Title of {item_id}",
        category=types_pb2.CategoryPath(names=fields.pop("category", ["home", "mugs"])),
        attributes={"colour": "blue", "size": "2"} | fields.pop("attributes", {}),
        image_uri=f"file:///{item_id}.jpg",
    )
    vector = fields.pop("vector", None) or to_bytes(3 * rows.vector(item_id))
    row = hasher_pb2.UpsertRow(item=item, vector_f32_le=vector)
    return hasher_pb2.Mutation(upsert=row, **fields)


def delete(item_id: str, **fields: Any) -> Any:
    return hasher_pb2.Mutation(delete_item_id=item_id, **fields)


@asynccontextmanager
async def serve(
    folder: Path,
    number: int = 0,
    count: int = 1,
    load: bool = True,
    memory: MemoryWatch | None = None,
    **flags: Any,
) -> AsyncIterator[Client]:
    """Serves a shard on a free port."""
    settings = HasherSettings(
        data_folder=folder,
        shard=number,
        shard_count=count,
        port=0,
        metrics_port=-1,
        drain_wait_seconds=0,
        **flags,
    )
    metrics = Metrics()
    own_metrics = HasherMetrics(metrics)
    search_port = SearchPort(settings, LOADING, metrics)
    shard = Shard(settings.data_folder, number, count, metrics=own_metrics, publisher=search_port)
    watch(shard, metrics)
    shard.lock()
    if load:
        shard.load()
    pool = Pool("rows", 2, own_metrics.read)
    servicer = HasherServicer(
        shard,
        pool,
        memory or MemoryWatch(Metrics()),
        own_metrics,
        isa="test",
        position_wait_seconds=settings.position_wait_seconds,
    )

    async def check_ready() -> str:
        return shard.not_ready_reason()

    service = Service(
        "lookalike.v1.HasherService",
        lambda server: hasher_pb2_grpc.add_HasherServiceServicer_to_server(servicer, server),
        check_ready,
    )
    runner = ServerRunner("hasher", [service], settings, metrics, beside=search_port)
    await runner.start()
    channels = [
        open_channel(f"127.0.0.1:{port}") for port in (runner.port, runner.further_ports["search_port"])
    ]
    target = hasher_pb2.ShardIdentity(installation_id="home", shard=number, shard_count=count, layout_epoch=1)
    try:
        client = Client(channels, target, metrics, shard)
        client.stop = runner.stop
        yield client
    finally:
        for channel in channels:
            await channel.close()
        await runner.stop()
        shard.close()
        pool.close()


async def refusal(call: Any) -> tuple[grpc.StatusCode, LookalikeError]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), error_from_rpc(caught.value)
