"""What metrics cost a search: ``python -m benchmarks.metrics_cost``.

The gateway's pipeline over shards that answer at once, with metrics and with every method of them doing
nothing, in turns. CPU seconds of the thread.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from gateway.config import GatewaySettings
from gateway.deadline import Deadline
from gateway.directory.sqlite import SqliteDirectory
from gateway.fanout import Shards
from gateway.log.direct import DirectLog
from gateway.matching import Calibrations
from gateway.metrics import GatewayMetrics
from gateway.native_fanout import Found, Hits
from gateway.outcome import Outcome
from gateway.quality.drift import Drift
from gateway.quality.recall_probe import RecallMetrics, RecallProbe
from gateway.quality.watch import Quality
from gateway.search import SearchPipeline
from gateway.searches import SearchAdmission
from lookalike.collections import Spec
from lookalike.runtime.front import Front
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.process_metrics import ProcessMetrics
from lookalike.runtime.settings import ServerSettings
from lookalike.v1 import search_pb2, types_pb2

DIMENSION, ROWS, SHARDS, K = 256, 20_000, 2, 10
ROUNDS, SEARCHES = 31, 300
SETTINGS = GatewaySettings(data_folder=Path())
SPEC = Spec("model", DIMENSION, 256, 1024)
LABELS = ("unary", "lookalike.v1.SearchService", "Search")


class Silent:
    """Takes anything and does nothing."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_, **__: None


class CannedSearcher:
    """Finds the same hits with every search, and times the shards as the real one does."""

    def __init__(self, metrics: Any) -> None:
        hits = [
            search_pb2.Hit(item_id=f"{n}", product_id=f"p{n}", title="A title", score=0.9 - n / 50)
            for n in range(K)
        ]
        encoded = search_pb2.SearchResponse(hits=hits).SerializeToString()
        outcome = Outcome(dict.fromkeys(range(SHARDS), 1e-3))
        self._found = Found(
            outcome, [Hits(encoded, K, 0.9, 0.8, SHARDS * 2_000)], SHARDS * ROWS, (1e-5,) * 4, {}, 1e-5
        )
        self._metrics = metrics

    async def search(self, *_: Any, **__: Any) -> Found:
        for shard in range(SHARDS):
            self._metrics.shard_took("search", shard, 1e-3)
        return self._found


def vectors(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    drawn = np.random.default_rng(1).standard_normal((count, DIMENSION), np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn


async def gateway(folder: Path) -> tuple[Callable[[bool], Coroutine[Any, Any, None]], Metrics]:
    """Returns what searches once, with metrics or without."""
    directory = SqliteDirectory(folder)
    await directory.begin_create("shop", SPEC)
    await directory.finish_create("shop")
    metrics = Metrics()
    calls = ProcessMetrics(metrics, "gateway", Front([], ServerSettings()))

    def pipeline(measured: Any, quality: Any) -> SearchPipeline:
        slots = SearchAdmission(SETTINGS, measured)
        unused: Any = None
        searcher: Any = CannedSearcher(measured)
        shards = Shards([Silent()] * SHARDS, "home", 1, measured)
        log = DirectLog(shards, "log", 1 << 24)
        return SearchPipeline(
            directory,
            unused,
            searcher,
            shards,
            log,
            Calibrations(),
            slots,
            measured,
            quality,
            60.0,
        )

    own = GatewayMetrics(metrics)
    shards = Shards((), "home", 1, own)
    drift = Drift(directory, shards, metrics, 300.0)
    searcher: Any = CannedSearcher(own)
    probe = RecallProbe(
        directory,
        searcher,
        SearchAdmission(SETTINGS, own),
        RecallMetrics(metrics),
        interval_seconds=10.0,
        share=0.01,
        timeout_seconds=5.0,
    )
    with_metrics = pipeline(own, Quality(drift, probe, metrics))
    without = pipeline(Silent(), Silent())
    embedding = types_pb2.Embedding(values=vectors(1)[0].tolist())
    request = search_pb2.SearchRequest(collection="shop", k=K, query=search_pb2.Query(embedding=embedding))

    async def search(measured: bool) -> None:
        await (with_metrics if measured else without).search(request, Deadline(10))
        if measured:
            calls.ended(LABELS, grpc.StatusCode.OK, 0.001)

    return search, metrics


async def compare(name: str, search: Callable[[bool], Coroutine[Any, Any, None]]) -> None:
    """Prints the CPU of a search with and without metrics."""
    spent: dict[bool, list[float]] = {True: [], False: []}
    for round_ in range(ROUNDS + 1):
        for measured in (True, False) if round_ % 2 else (False, True):
            start = time.thread_time()
            for _ in range(SEARCHES):
                await search(measured)
            if round_:  # the first warms up
                spent[measured].append((time.thread_time() - start) / SEARCHES)
    on, off = (statistics.median(spent[measured]) * 1e6 for measured in (True, False))
    print(f"{name}: {off:.1f} µs without metrics, {on - off:.1f} µs more with them ({on / off:.3f} times)")


async def main() -> None:
    """Compares."""
    with tempfile.TemporaryDirectory() as folder:
        search, metrics = await gateway(Path(folder) / "gateway")
        await compare("gateway", search)
        start = time.perf_counter()
        series = sum(len(family.samples) for family in metrics.registry.collect())
        print(f"reading {series} series of the gateway: {(time.perf_counter() - start) * 1e3:.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
