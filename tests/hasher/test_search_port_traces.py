"""Which searches of the search port are traced, and what shows their traces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from lookalike.v1 import hasher_pb2
from lookalike.wire.vectors import to_bytes
from tests.collector import Collector, Span, collecting
from tests.hasher.served import Client, serve, upsert

METHOD = "lookalike.v1.HasherService/Search"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


async def _search(client: Client, rows: Any, traceparent: str = "", **fields: Any) -> None:
    request = hasher_pb2.HasherServiceSearchRequest(
        generation="g",
        model_version="model-1",
        vectors_f32_le=to_bytes(rows.vector("a")),
        **{"k": 5, **fields},
    )
    metadata = (("traceparent", traceparent),) if traceparent else ()
    await client.port_stub.Search(request, metadata=metadata)


async def _fill(client: Client, rows: Any) -> None:
    await client.create()
    await client.write(upsert(rows, "a"))


async def _spans(client: Client, collector: Collector) -> list[Span]:
    """Stops the server, which hands over every span, and returns those of searches."""
    await client.stop()
    return [span for span in collector.spans if span.name == METHOD]


async def test_durations_name_the_trace_of_a_sampled_search(
    tmp_path: Path, rows: Any, collector: Collector
) -> None:
    flags = {"trace_endpoint": collector.endpoint, "trace_sample_ratio": 0.0}
    async with serve(tmp_path / "data", **flags) as client:
        await _fill(client, rows)
        await _search(client, rows)
        assert "trace_id" not in openmetrics(client.metrics.registry).decode()
        await _search(client, rows, f"00-{TRACE}-{CALLER}-01")
        lines = openmetrics(client.metrics.registry).decode().splitlines()
    named = [line for line in lines if f'# {{trace_id="{TRACE}"}}' in line]
    stages = {line.partition('stage="')[2].partition('"')[0] for line in named if "hasher_stage" in line}
    assert stages == {"position", "queue", "convert", "hash", "probe", "scan", "rerank"}
    calls = [line for line in named if line.startswith("grpc_server_handling_seconds_bucket")]
    assert len(calls) == 1
    assert 'grpc_method="Search"' in calls[0]


async def test_without_an_endpoint_nothing_is_sampled(client: Client, rows: Any) -> None:
    await client.write(upsert(rows, "a"))
    await _search(client, rows, f"00-{TRACE}-{CALLER}-01")
    assert "trace_id" not in openmetrics(client.metrics.registry).decode()


@pytest.mark.parametrize(("ratio", "begins"), [(0.0, 0), (1.0, 3)])
async def test_searches_without_a_trace_are_traced_by_the_ratio(
    tmp_path: Path, rows: Any, collector: Collector, ratio: float, begins: int
) -> None:
    flags = {"trace_endpoint": collector.endpoint, "trace_sample_ratio": ratio}
    async with serve(tmp_path / "data", **flags) as client:
        await _fill(client, rows)
        await _search(client, rows)
        await _search(client, rows, "nonsense")
        with pytest.raises(grpc.aio.AioRpcError):
            await _search(client, rows, k=0)
        await _search(client, rows, f"00-{TRACE}-{CALLER}-00")
        await _search(client, rows, f"00-{TRACE}-{CALLER}-01")
        spans = await _spans(client, collector)
    followed = [span for span in spans if span.trace_id == TRACE]
    assert [span.parent_id for span in followed] == [CALLER]
    begun = [span for span in spans if span.trace_id != TRACE]
    assert [span.failed for span in begun] == [False, False, True][:begins]
    assert {span.parent_id for span in begun} <= {""}
    assert len({span.trace_id for span in begun}) == begins


async def test_a_share_of_the_searches_is_traced(tmp_path: Path, rows: Any, collector: Collector) -> None:
    flags = {"trace_endpoint": collector.endpoint, "trace_sample_ratio": 0.5}
    async with serve(tmp_path / "data", **flags) as client:
        await _fill(client, rows)
        for _ in range(400):
            await _search(client, rows)
        spans = await _spans(client, collector)
    # Further away once in 10^10 runs; were it decided again by another id, some 100 would be left.
    assert 136 < len(spans) < 264
