"""Puts one hasher process together: the only place that knows all its parts."""

from __future__ import annotations

import asyncio

from hasher.config import HasherSettings
from hasher.log.direct import DirectLog
from hasher.metrics import HasherMetrics
from hasher.pools import Pool
from hasher.search_port import SearchPort
from hasher.service import HasherServicer
from hasher.shard import LOADING, Shard
from hasher.state import watch
from lookalike._native import active_isa
from lookalike.runtime.cpus import available_cpus
from lookalike.runtime.heap import share_heaps
from lookalike.runtime.memory import MemoryWatch
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.server import ServerRunner, Service
from lookalike.v1 import hasher_pb2, hasher_pb2_grpc

_CHECKPOINT_CHECK_SECONDS = 5.0
"""Between two looks at how much is unsaved."""

FULL_NAME: str = hasher_pb2.DESCRIPTOR.services_by_name["HasherService"].full_name


async def run(settings: HasherSettings) -> None:
    """Serves until SIGTERM or SIGINT.

    The data folder is locked first, then the port is bound; health turns SERVING once every generation is
    loaded.

    Raises:
        InvalidInputError: A setting cannot be used.
        FailedPreconditionError: The folder is in use, or holds the rows of another shard.
        DataLossError: A row file is damaged; nothing is served then.
    """
    share_heaps(available_cpus())
    metrics = Metrics()
    own_metrics = HasherMetrics(metrics)
    search_port = SearchPort(settings, LOADING, metrics)
    shard = Shard(
        settings.data_folder,
        settings.shard,
        settings.shard_count,
        open_log=lambda name: DirectLog(settings.max_pending_changes, own_metrics),
        metrics=own_metrics,
        publisher=search_port,
    )
    watch(shard, metrics)
    shard.lock()
    rows = Pool("rows", settings.search_threads or available_cpus(), own_metrics.read)
    memory = MemoryWatch(
        metrics, settings.max_memory_bytes, settings.memory_share, lambda: _largest_rebuild_bytes(shard)
    )
    servicer = HasherServicer(
        shard,
        rows,
        memory,
        own_metrics,
        isa=active_isa(),
        position_wait_seconds=settings.position_wait_seconds,
    )

    async def check_ready() -> str:
        return await asyncio.to_thread(shard.not_ready_reason)

    async def keep() -> None:
        """Loads, then saves the indexes from time to time."""
        await asyncio.to_thread(shard.load)
        while True:
            await asyncio.to_thread(shard.checkpoint, settings.checkpoint_interval_seconds)
            await asyncio.sleep(min(settings.checkpoint_interval_seconds, _CHECKPOINT_CHECK_SECONDS))

    service = Service(
        FULL_NAME,
        lambda server: hasher_pb2_grpc.add_HasherServiceServicer_to_server(servicer, server),
        check_ready,
    )
    try:
        await ServerRunner(
            "hasher", [service], settings, metrics, background=[keep], beside=search_port
        ).run()
    finally:
        await asyncio.to_thread(shard.close)
        await asyncio.to_thread(rows.close)


def _largest_rebuild_bytes(shard: Shard) -> int:
    """Returns the memory that the most expensive rebuild takes: usually there is one at a time."""
    return max((generation.rebuild_bytes() for generation in shard.generations()), default=0)
