"""The composition root of the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import grpc
import structlog

from gateway.admission import Admission
from gateway.clients import GrpcEmbedder, GrpcSearchPorts, GrpcShard
from gateway.config import GatewaySettings
from gateway.directory.base import Directory, State
from gateway.directory.lifecycle import Lifecycle
from gateway.directory.sqlite import SqliteDirectory
from gateway.fanout import Shards
from gateway.ingest import Ingest
from gateway.limit import FixedLimit
from gateway.log.direct import DirectLog
from gateway.matching import Calibrations
from gateway.measured import MeasuredEmbedder
from gateway.metrics import GatewayMetrics
from gateway.native_fanout import Searcher
from gateway.peers import Embedder, Shard
from gateway.quality.drift import Drift
from gateway.quality.recall_probe import RecallMetrics, RecallProbe
from gateway.quality.watch import Quality
from gateway.readiness import Readiness
from gateway.reads import Reader
from gateway.search import SearchPipeline
from gateway.searches import SearchAdmission
from gateway.services import CatalogServicer, CollectionServicer, SearchServicer
from gateway.state import watch
from gateway.writes import Writer
from lookalike.files.locks import FolderLock
from lookalike.runtime.health import ReadinessCheck
from lookalike.runtime.memory import MemoryWatch
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.server import ServerRunner, Service
from lookalike.v1 import catalog_pb2_grpc, collection_pb2_grpc, search_pb2_grpc
from lookalike.wire.channel import open_channel

_PACKAGE = "lookalike.v1"
_ADDERS: dict[str, Callable[[Any, Any], None]] = {
    "SearchService": search_pb2_grpc.add_SearchServiceServicer_to_server,
    "CatalogService": catalog_pb2_grpc.add_CatalogServiceServicer_to_server,
    "CollectionService": collection_pb2_grpc.add_CollectionServiceServicer_to_server,
}
log = structlog.get_logger()


async def run(settings: GatewaySettings) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        InvalidInputError: A setting cannot be used (``CONFIG_INVALID``).
        FailedPreconditionError: Another gateway has the data folder (``CONFIG_INVALID``).
        DataLossError: The file of collections is damaged.
        UnavailableError: The disk is full (``DISK_FULL``).
    """
    async with AsyncExitStack() as resources:
        resources.callback(FolderLock(settings.data_folder, "gateway").release)
        directory = await asyncio.to_thread(SqliteDirectory, settings.data_folder)
        resources.callback(directory.close)

        def connect(target: str, balanced: bool = False) -> grpc.aio.Channel:
            channel = open_channel(target, max_message_bytes=settings.max_message_bytes, balanced=balanced)
            resources.push_async_callback(channel.close)
            return channel

        embedder = GrpcEmbedder(connect(settings.embedder, balanced=True))
        shards = [GrpcShard(connect(address.calls)) for address in settings.hasher_addresses]
        searched = [(address.searches,) for address in settings.hasher_addresses]
        await build_server(settings, directory, embedder, shards, searched).run()


def build_server(
    settings: GatewaySettings,
    directory: Directory,
    embedder: Embedder,
    peers: Sequence[Shard],
    searched: Sequence[Sequence[str]],
) -> ServerRunner:
    """Assembles the gateway.

    Args:
        settings: Of the gateway; its targets and folder are not used here.
        directory: Which collections there are; the caller closes it.
        embedder: To call.
        peers: The hashers to call, in the order of their numbers.
        searched: Shard → ``host:port`` of what answers its searches: one address for each replica.
    """
    metrics = Metrics()
    measured = GatewayMetrics(metrics)
    calibrations = Calibrations()
    embedder = MeasuredEmbedder(embedder, measured, calibrations.take)
    shards = Shards(peers, directory.installation_id, directory.layout_epoch, measured)
    draining = asyncio.Event()
    max_bytes = settings.max_message_bytes
    searcher = Searcher(searched, directory.installation_id, directory.layout_epoch, measured, max_bytes)

    searches = SearchAdmission(settings, measured)
    writes = Admission("writes", FixedLimit(settings.max_writes), settings.max_waiting_writes, measured)
    write_log = DirectLog(shards, f"{directory.installation_id}.{directory.layout_epoch}", max_bytes)
    drift = Drift(directory, shards, metrics, settings.profile_interval_seconds)
    probe = _recall_probe(settings, directory, searcher, searches, metrics)
    watch_with = Quality(drift, probe, metrics), settings.slow_search_seconds
    pipeline = SearchPipeline(
        directory, embedder, searcher, shards, write_log, calibrations, searches, measured, *watch_with
    )
    memory = MemoryWatch(metrics, settings.max_memory_bytes, settings.memory_share)
    writer = Writer(directory, embedder, write_log, writes, memory, measured)
    reader = Reader(directory, shards, max_bytes)
    ingest = Ingest(writer, draining, settings.ingest_batch_seconds, measured)
    search_ports = GrpcSearchPorts(searched)
    readiness = _readiness(settings, directory, embedder, shards, search_ports, measured)
    watch(directory, metrics)
    _warn_of_unfinished(directory)
    search = SearchServicer(pipeline, embedder, shards.count, max_bytes)
    collections = CollectionServicer(directory, Lifecycle(directory, embedder, shards), reader, calibrations)
    services = [
        _service("SearchService", search, readiness.searches),
        _service("CatalogService", CatalogServicer(writer, reader, ingest), readiness.items),
        _service("CollectionService", collections, readiness.directory),
    ]
    runner = ServerRunner(
        "gateway",
        services,
        settings,
        metrics,
        draining=draining,
        background=[drift.run, probe.run, calibrations.following(embedder)],
        close=[searcher.close, search_ports.close],
    )
    searches.refuse_by(runner.limiter(f"/{_PACKAGE}.SearchService/Search"))
    return runner


def _recall_probe(
    settings: GatewaySettings,
    directory: Directory,
    searcher: Searcher,
    searches: SearchAdmission,
    metrics: Metrics,
) -> RecallProbe:
    return RecallProbe(
        directory,
        searcher,
        searches,
        RecallMetrics(metrics),
        interval_seconds=settings.recall_probe_interval_seconds,
        share=settings.recall_probe_share,
        timeout_seconds=settings.recall_probe_timeout_seconds,
    )


def _readiness(
    settings: GatewaySettings,
    directory: Directory,
    embedder: Embedder,
    shards: Shards,
    search_ports: GrpcSearchPorts,
    measured: GatewayMetrics,
) -> Readiness:
    return Readiness(
        directory,
        embedder,
        shards,
        search_ports,
        measured,
        ready_coverage=settings.ready_coverage,
        timeout_seconds=settings.readiness_timeout_seconds,
    )


def _service(name: str, servicer: object, check_ready: ReadinessCheck) -> Service:
    add = _ADDERS[name]
    return Service(f"{_PACKAGE}.{name}", lambda server: add(servicer, server), check_ready)


def _warn_of_unfinished(directory: Directory) -> None:
    """Lets operators find collections whose creation or deletion was begun and not finished."""
    for collection in directory.collections():
        if collection.state is not State.READY:
            repeat = "CreateCollection" if collection.state is State.CREATING else "DeleteCollection"
            log.warning(
                "collection_unfinished",
                collection=collection.name,
                state=collection.state.value,
                advice=f"repeat {repeat}",
            )
