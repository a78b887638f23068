"""What every service reports of its process, and how the metrics themselves behave."""

from __future__ import annotations

import asyncio
import gc
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from lookalike import __version__
from lookalike.runtime.front import Front
from lookalike.runtime.metrics import Metrics, MetricsServer, Read, Value
from lookalike.runtime.process_metrics import ProcessMetrics
from lookalike.runtime.settings import ServerSettings
from lookalike.v1 import search_pb2
from lookalike.wire.channel import RETRY_KEY

if TYPE_CHECKING:
    from conftest import Serve


def samples(metrics: Metrics) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def process_metrics(metrics: Metrics) -> ProcessMetrics:
    return ProcessMetrics(metrics, "probe", Front([], ServerSettings()))


def test_the_build_shows() -> None:
    metrics = Metrics()
    process_metrics(metrics)
    (info,) = samples(metrics)["lookalike_build_info"]
    assert (info.labels["service"], info.labels["version"], info.value) == ("probe", __version__, 1)


def test_no_series_says_when_it_was_created() -> None:
    metrics = Metrics()
    process_metrics(metrics).ended(("unary", "s", "m"), grpc.StatusCode.OK, 0.1)
    assert not [name for name in samples(metrics) if name.endswith("_created")]
    assert b"_created" not in openmetrics(metrics.registry)


def test_pauses_of_the_garbage_collector_add_up() -> None:
    metrics = Metrics()
    process_metrics(metrics)
    value, labels = metrics.registry.get_sample_value, {"generation": "2"}
    before = (
        value("lookalike_gc_pause_seconds_count", labels),
        value("lookalike_gc_pause_seconds_sum", labels),
    )
    gc.collect()
    assert value("lookalike_gc_pause_seconds_count", labels) == before[0] + 1
    assert value("lookalike_gc_pause_seconds_sum", labels) > before[1]


async def test_a_blocked_event_loop_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike.runtime.process_metrics.LAG_SECONDS", 0.01)
    metrics = Metrics()
    watching = asyncio.create_task(process_metrics(metrics).watch_event_loop())
    await asyncio.sleep(0)
    time.sleep(0.2)
    await asyncio.sleep(0.05)
    watching.cancel()
    assert metrics.registry.get_sample_value("lookalike_event_loop_lag_seconds_sum") > 0.15


async def test_retried_and_refused_calls_are_counted(serve: Serve) -> None:
    running = await serve(max_concurrent_rpcs=1)
    search = running.channel.unary_unary(
        "/lookalike.v1.SearchService/Search",
        search_pb2.SearchRequest.SerializeToString,
        search_pb2.SearchResponse.FromString,
    )
    for attempt in range(3):
        metadata = ((RETRY_KEY, str(attempt)),) if attempt else ()
        await asyncio.gather(search(search_pb2.SearchRequest(), metadata=metadata), return_exceptions=True)
    value = running.runner._metrics.registry.get_sample_value
    assert value("lookalike_retried_calls_total", {"grpc_method": "Search"}) == 2
    running.probe.behaviour = "wait"
    waiting = asyncio.create_task(running.call())
    await running.probe.entered.wait()
    with pytest.raises(grpc.aio.AioRpcError):
        await search(search_pb2.SearchRequest())
    running.probe.release.set()
    await waiting
    assert value("lookalike_calls_refused_total", {"kind": "call", "cause": "too_many"}) == 1
    assert value("lookalike_calls_in_progress", {"kind": "call"}) == 0


async def test_late_calls_are_not_taken_for_cancelled_ones(serve: Serve) -> None:
    running = await serve()
    running.probe.behaviour = "wait"
    with pytest.raises(grpc.aio.AioRpcError):
        await running.call(timeout=0.3)
    given_up = asyncio.ensure_future(running.call(timeout=30))
    await asyncio.sleep(0.3)
    given_up.cancel()
    for _ in range(200):
        handled = await running.handled()
        if len(handled) == 2:
            break
        await asyncio.sleep(0.01)
    assert handled == {"DEADLINE_EXCEEDED": 1, "CANCELLED": 1}


async def test_calls_that_end_before_anyone_looks_are_counted(serve: Serve) -> None:
    running = await serve()

    def leave() -> None:
        """Calls, and goes, while the event loop is blocked."""
        with grpc.insecure_channel(f"127.0.0.1:{running.runner.port}") as channel:
            grpc.channel_ready_future(channel).result(30)
            call = channel.unary_unary("/lookalike.v1.SearchService/GetServerInfo")
            late, cancelled = call.future(b"", timeout=0.2), call.future(b"", timeout=30)
            assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            cancelled.cancel()
            time.sleep(0.2)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(leave).result()
    async with asyncio.timeout(30):
        while await running.handled() != {"DEADLINE_EXCEEDED": 1, "CANCELLED": 1}:
            await asyncio.sleep(0.01)


def test_exemplars_lead_to_the_trace_of_a_slow_call() -> None:
    metrics = Metrics()
    calls = process_metrics(metrics)
    calls.ended(("unary", "s", "m"), grpc.StatusCode.OK, 0.1)
    assert b"trace_id" not in openmetrics(metrics.registry)
    metrics.exemplar = lambda: {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
    calls.ended(("unary", "s", "m"), grpc.StatusCode.OK, 7.0)
    lines = [line for line in openmetrics(metrics.registry).decode().splitlines() if "trace_id" in line]
    assert len(lines) == 1
    assert 'le="10.0"' in lines[0]
    server = MetricsServer(metrics, "127.0.0.1", 0)
    try:
        wanted = {"Accept": "application/openmetrics-text; version=1.0.0"}
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(urllib.request.Request(url, headers=wanted)) as answer:
            assert b"4bf92f3577b34da6a3ce929d0e0e4736" in answer.read()
        with urllib.request.urlopen(url) as answer:
            assert b"trace_id" not in answer.read(), "the older format has no place for it"
    finally:
        server.stop()


def test_metrics_that_are_read_together() -> None:
    metrics = Metrics()
    declared = (
        Read("lookalike_one_items", "One.", ("kind",)),
        Read("lookalike_two_total", "Two.", type="counter"),
        Read("lookalike_three_seconds", "Three.", ("kind",), "summary"),
    )

    def values() -> Iterator[Value]:
        yield "lookalike_one_items", ("a",), 1
        yield "lookalike_one_items", ("b",), 2
        yield "lookalike_two_total", (), 3
        yield "lookalike_three_seconds_count", ("a",), 4
        yield "lookalike_three_seconds_sum", ("a",), 0.5

    metrics.read(declared, values)
    text = metrics_text(metrics)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["lookalike_one_items"].type == "gauge"
    assert families["lookalike_two"].type == "counter"
    assert families["lookalike_three_seconds"].type == "summary"
    assert metrics.registry.get_sample_value("lookalike_one_items", {"kind": "b"}) == 2
    assert metrics.registry.get_sample_value("lookalike_two_total") == 3
    assert metrics.registry.get_sample_value("lookalike_three_seconds_sum", {"kind": "a"}) == 0.5
    assert "lookalike_two_total 3.0" in openmetrics(metrics.registry).decode()


def test_what_cannot_be_read_takes_no_other_metric_away() -> None:
    metrics = Metrics()

    def values() -> Iterator[Value]:
        yield "lookalike_one_items", (), 1
        raise RuntimeError("closed")

    metrics.read([Read("lookalike_one_items", "One.")], values)
    metrics.gauge("lookalike_other_items", "Other.").set(7)
    assert metrics.registry.get_sample_value("lookalike_other_items") == 7


def metrics_text(metrics: Metrics) -> str:
    from prometheus_client import generate_latest

    return generate_latest(metrics.registry).decode()
