"""The composition root of the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import grpc

from gateway.admission import Admission
from gateway.clients import GrpcEmbedder, GrpcShard
from gateway.config import GatewaySettings
from gateway.directory.lifecycle import Lifecycle
from gateway.directory.sqlite import Registry
from gateway.fanout import Shards
from gateway.ingest import Ingest
from gateway.metrics import Telemetry
from gateway.peers import Embedder, Shard
from gateway.readiness import Readiness
from gateway.reads import Reader
from gateway.search import SearchPipeline
from gateway.services import CatalogServicer, CollectionServicer, SearchServicer
from gateway.writes import Writer
from lookalike.files.locks import FolderLock
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.server import ServerRunner, Service
from lookalike.v1 import catalog_pb2_grpc, collection_pb2_grpc, search_pb2_grpc
from lookalike.wire.channel import open_channel

_PACKAGE = "lookalike.v1"


async def run(settings: GatewaySettings) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        InvalidInputError: A setting cannot be used (``CONFIG_INVALID``).
        FailedPreconditionError: Another gateway has the data folder (``CONFIG_INVALID``).
        DataLossError: The file of collections is damaged.
    """
    async with AsyncExitStack() as resources:
        resources.callback(FolderLock(settings.data_folder, "gateway").release)
        registry = Registry(settings.data_folder)
        resources.callback(registry.close)

        def connect(target: str) -> grpc.aio.Channel:
            channel = open_channel(target, max_message_bytes=settings.max_message_bytes)
            resources.push_async_callback(channel.close)
            return channel

        embedder = GrpcEmbedder(connect(settings.embedder))
        shards = [GrpcShard(connect(target)) for target in settings.hashers]
        await build_server(settings, registry, embedder, shards).run()


def build_server(
    settings: GatewaySettings, registry: Registry, embedder: Embedder, shards: Sequence[Shard]
) -> ServerRunner:
    """Puts the gateway together.

    Args:
        settings: Of the gateway; its targets and folder are not used here.
        registry: Which collections there are; the caller closes it.
        embedder: To call.
        shards: To call, in the order of their numbers.
    """
    metrics = Metrics()
    telemetry = Telemetry(metrics)
    counted = Shards(shards, telemetry.count_shard_failure)
    draining = asyncio.Event()

    searches = Admission("searches", settings.max_searches, settings.max_waiting_searches)
    writes = Admission("writes", settings.max_writes, settings.max_waiting_writes)
    pipeline = SearchPipeline(registry, embedder, counted, searches, telemetry, settings.slow_search_seconds)
    writer = Writer(registry, embedder, counted, writes, telemetry)
    reader = Reader(registry, counted)
    ingest = Ingest(writer, draining, settings.ingest_batch_seconds)
    readiness = Readiness(
        embedder,
        Shards(shards, lambda _: None),
        telemetry,
        settings.ready_coverage,
        settings.readiness_timeout_seconds,
    )

    def service(name: str, add: Callable[[object, grpc.aio.Server], None], servicer: object) -> Service:
        return Service(f"{_PACKAGE}.{name}", lambda server: add(servicer, server), readiness.check)

    return ServerRunner(
        "gateway",
        [
            service(
                "SearchService",
                search_pb2_grpc.add_SearchServiceServicer_to_server,
                SearchServicer(pipeline, embedder, counted.count),
            ),
            service(
                "CatalogService",
                catalog_pb2_grpc.add_CatalogServiceServicer_to_server,
                CatalogServicer(writer, reader, ingest),
            ),
            service(
                "CollectionService",
                collection_pb2_grpc.add_CollectionServiceServicer_to_server,
                CollectionServicer(registry, Lifecycle(registry, embedder, counted), reader),
            ),
        ],
        settings,
        metrics,
        draining=draining,
    )
