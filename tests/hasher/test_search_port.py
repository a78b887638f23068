"""The search port of a served hasher: what is not in the table of searches."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from hasher.config import HasherSettings
from hasher.search_port import SearchPort
from lookalike.errors import InvalidInputError, Reason
from lookalike.runtime.metrics import Metrics
from lookalike.v1 import hasher_pb2
from lookalike.wire.vectors import to_bytes
from tests.hasher.served import Client, Code, refusal, serve, upsert

SERVICE = "lookalike.v1.HasherService"
SEARCH = {"grpc_type": "unary", "grpc_service": SERVICE, "grpc_method": "Search"}
Health = health_pb2.HealthCheckResponse


def _request(rows: Any, **fields: Any) -> hasher_pb2.HasherServiceSearchRequest:
    given = {
        "generation": "g",
        "model_version": "model-1",
        "vectors_f32_le": to_bytes(rows.vector("a")),
        "k": 5,
    }
    return hasher_pb2.HasherServiceSearchRequest(**{**given, **fields})


async def _found(client: Client, rows: Any, **fields: Any) -> list[str]:
    answer = await client.port_stub.Search(_request(rows, **fields))
    return [hit.item_id for hit in answer.results[0].hits]


async def test_writes_are_found_and_dropped_generations_are_not(client: Client, rows: Any) -> None:
    await client.write(upsert(rows, "a"), upsert(rows, "b"))
    assert await _found(client, rows) == ["a", "b"]
    waiting = asyncio.ensure_future(_found(client, rows, min_positions={0: 3}))
    await client.write(upsert(rows, "c"))
    assert set(await waiting) == {"a", "b", "c"}
    await client.stub.Apply(
        hasher_pb2.ApplyRequest(generation="g", request_id="drop", drop=hasher_pb2.DropGeneration())
    )
    code, error = await refusal(_found(client, rows))
    assert (code, error.reason) == (Code.NOT_FOUND, Reason.COLLECTION_NOT_FOUND)


async def test_only_searches_and_health_are_served(client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.port_stub.Describe(hasher_pb2.DescribeRequest())
    assert caught.value.code() is Code.UNIMPLEMENTED


async def test_health_follows_the_server(tmp_path: Path) -> None:
    async with serve(tmp_path / "data") as client:
        health = health_pb2_grpc.HealthStub(client.port_channel)
        for service in (SERVICE, "", "liveness"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == Health.SERVING
        code, _ = await refusal(health.Check(health_pb2.HealthCheckRequest(service="nobody")))
        assert code is Code.NOT_FOUND
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        unknown = health.Watch(health_pb2.HealthCheckRequest(service="nobody"))
        assert (await watch.read()).status == Health.SERVING
        assert (await unknown.read()).status == Health.SERVICE_UNKNOWN
        unknown.cancel()
        stopping = asyncio.ensure_future(client.stop())
        assert (await watch.read()).status == Health.NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        assert await watch.code() is Code.OK
        await stopping


async def test_request_ids_are_sent_back(client: Client, rows: Any) -> None:
    call = client.port_stub.Search(_request(rows), metadata=(("x-request-id", "abc-1"),))
    await call
    assert dict(await call.trailing_metadata()) == {"x-request-id": "abc-1"}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.port_stub.Search(_request(rows, k=0))
    assert len(dict(caught.value.trailing_metadata() or ())["x-request-id"]) == 32


async def test_a_defect_is_logged_with_the_request_id(
    shards: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await shards()
    await client.create(rerank="RERANK_PRECISION_INT8")
    await client.write(upsert(rows, "a"))

    def broken(numbers: Any) -> Any:
        raise RuntimeError("no rows today")

    monkeypatch.setattr(client.shard.generation("g").store, "vectors", broken)
    with capture_logs() as logs:
        request = _request(rows, exact=True)
        call = client.port_stub.Search(request, metadata=(("x-request-id", "abc-2"),))
        code, error = await refusal(call)
        assert (code, error.message) == (Code.INTERNAL, "internal error; the request id is abc-2")
        while not logs:
            await asyncio.sleep(0.01)
    assert logs == [
        {
            "event": "call_failed",
            "log_level": "error",
            "method": f"/{SERVICE}/Search",
            "request_id": "abc-2",
            "problem": "RuntimeError: no rows today",
        }
    ]
    assert await _found(client, rows) == ["a"]


async def test_too_many_calls_are_refused(tmp_path: Path, rows: Any) -> None:
    async with serve(tmp_path / "data", max_concurrent_rpcs=1) as client:
        await client.create()
        waiting = asyncio.ensure_future(_found(client, rows, min_positions={0: 2}))
        value = client.metrics.registry.get_sample_value
        while not value("lookalike_calls_in_progress", {"kind": "call"}):
            await asyncio.sleep(0.01)
        code, error = await refusal(_found(client, rows))
        assert (code, error.reason) == (Code.RESOURCE_EXHAUSTED, Reason.OVERLOADED)
        assert error.message == "the server has too many calls in progress"
        assert error.retry_after_seconds == 0.1
        assert value("lookalike_calls_refused_total", {"kind": "call", "cause": "too_many"}) == 1
        await client.write(upsert(rows, "a"))
        assert await waiting == ["a"]


async def test_a_call_that_is_cancelled_or_late_counts_as_such(client: Client, rows: Any) -> None:
    value = client.metrics.registry.get_sample_value

    def ended(code: Code) -> float | None:
        return value("grpc_server_handled_total", {**SEARCH, "grpc_code": code.name})

    waiting = client.port_stub.Search(_request(rows, min_positions={0: 9}))
    while value("lookalike_calls_in_progress", {"kind": "call"}) != 1:
        await asyncio.sleep(0.01)
    waiting.cancel()
    while ended(Code.CANCELLED) != 1:
        await asyncio.sleep(0.01)
    assert value("lookalike_calls_in_progress", {"kind": "call"}) == 0


async def test_what_the_port_counts_is_in_the_metrics_of_the_process(client: Client, rows: Any) -> None:
    await client.write(upsert(rows, "a"), upsert(rows, "b"))
    value = client.metrics.registry.get_sample_value
    await client.port_stub.Search(_request(rows), metadata=(("x-retry-attempt", "1"),))
    assert value("lookalike_hasher_codes_scanned_total") == 2
    assert value("lookalike_hasher_buckets_probed_total") == 1
    await client.port_stub.Search(_request(rows, exact=True))
    for stage in ("position", "queue", "convert", "hash", "probe", "scan", "rerank"):
        for exact in ("false", "true"):
            labels = {"stage": stage, "exact": exact}
            assert value("lookalike_hasher_stage_seconds_count", labels) == 1
            assert value("lookalike_hasher_stage_seconds_bucket", {**labels, "le": "+Inf"}) == 1
    for exact in ("false", "true"):
        assert value("lookalike_hasher_candidates_reranked_total", {"exact": exact}) == 2
    assert value("grpc_server_handled_total", {**SEARCH, "grpc_code": "OK"}) == 2
    assert value("grpc_server_handling_seconds_count", SEARCH) == 2
    assert value("lookalike_retried_calls_total", {"grpc_method": "Search"}) == 1
    assert value("lookalike_hasher_search_panics_total") == 0
    assert value("lookalike_hasher_waiting_searches", {"kind": "long"}) == 0


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = HasherSettings(data_folder=tmp_path, port=0, search_port=port)
        with pytest.raises(InvalidInputError, match=f"cannot listen on 127.0.0.1:{port}: the port is taken"):
            SearchPort(settings, "", Metrics()).start(None)


def test_the_search_port_is_100_above_the_other(tmp_path: Path) -> None:
    def of(**flags: Any) -> int:
        return HasherSettings(data_folder=tmp_path, **flags).search_port

    assert (of(), of(shard=3, shard_count=4), of(port=9000)) == (7810, 7813, 9100)
    assert (of(port=0), of(port=65500), of(search_port=5)) == (0, 0, 5)
