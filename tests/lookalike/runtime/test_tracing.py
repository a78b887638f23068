"""Calls of a real server as spans that a real receiver gets."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextvars import copy_context
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lookalike.errors import InvalidInputError, Reason
from lookalike.runtime import tracing
from lookalike.runtime.settings import ServerSettings
from lookalike.runtime.tracing import TracedCall, open_tracing
from tests.collector import Collector, Span, collecting

if TYPE_CHECKING:
    from conftest import Running, Serve

METHOD = "lookalike.v1.SearchService/GetServerInfo"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture
async def running(serve: Serve, collector: Collector) -> Running:
    return await serve(trace_endpoint=collector.endpoint, trace_sample_ratio=1.0)


async def spans_of(running: Running, collector: Collector) -> list[Span]:
    """Stops the server, which hands over every span."""
    await running.runner.stop()
    return collector.spans


async def test_a_call_is_a_span_and_probes_are_none(running: Running, collector: Collector) -> None:
    before = time.time_ns()
    await running.call(metadata=(("x-request-id", "abc-123"),))
    await health_pb2_grpc.HealthStub(running.channel).Check(health_pb2.HealthCheckRequest())
    (span,) = await spans_of(running, collector)
    assert (span.service, span.name, span.kind, span.parent_id) == ("lookalike-probe", METHOD, 2, "")
    assert span.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.response.status_code": "OK",
        "lookalike.request_id": "abc-123",
    }
    assert before <= span.start_ns <= span.end_ns <= time.time_ns()
    assert not span.failed


async def test_the_caller_decides_whether_its_call_is_traced(serve: Serve, collector: Collector) -> None:
    running = await serve(trace_endpoint=collector.endpoint, trace_sample_ratio=0.0)
    await running.call()
    await running.call(metadata=(("traceparent", PARENT.format("00")),))
    await running.call(metadata=(("traceparent", PARENT.format("01")),))
    await running.call(metadata=(("traceparent", "nonsense"),))
    (span,) = await spans_of(running, collector)
    assert (span.trace_id, span.parent_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


async def test_a_failed_call_says_why(running: Running, collector: Collector) -> None:
    running.probe.behaviour = "refuse"
    with pytest.raises(grpc.aio.AioRpcError):
        await running.call()
    (span,) = await spans_of(running, collector)
    assert span.failed
    assert span.attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert span.attributes["error.type"] == "FIELD_OUT_OF_RANGE"


async def test_the_duration_of_a_call_names_its_trace(running: Running, collector: Collector) -> None:
    await running.call()
    from prometheus_client.openmetrics.exposition import generate_latest

    text = generate_latest(running.runner._metrics.registry).decode()
    (span,) = await spans_of(running, collector)
    assert re.search(rf'grpc_server_handling_seconds_bucket{{.*}} 1.0 # {{trace_id="{span.trace_id}"}}', text)


async def test_a_collector_that_is_away_holds_nothing_up(serve: Serve) -> None:
    running = await serve(trace_endpoint="http://127.0.0.1:9", trace_sample_ratio=1.0)
    await running.call()
    start = time.monotonic()
    await running.runner.stop()
    assert time.monotonic() - start < 60


# Within a call


class Traced:
    """A process that traces, without a server."""

    def __init__(self, collector: Collector) -> None:
        settings = ServerSettings(trace_endpoint=collector.endpoint, trace_sample_ratio=1.0)
        opened = open_tracing("test", settings)
        assert opened
        self.tracing, self.collector = opened, collector
        self.calls: list[TracedCall] = []

    def begin(self) -> TracedCall:
        call = self.tracing.begin(f"/{METHOD}", (), time.perf_counter())
        assert call
        self.calls.append(call)
        return call

    def spans(self) -> dict[str, Span]:
        """Ends the calls, and returns all spans by name."""
        for call in self.calls:
            call.end("OK", None)
        self.tracing.close()
        return {span.name: span for span in self.collector.spans}


@pytest.fixture
def traced(collector: Collector) -> Iterator[Traced]:
    yield Traced(collector)
    tracing._current.set(None)


def test_stages_lie_one_after_another_in_their_call(traced: Traced) -> None:
    call = traced.begin()
    start = time.perf_counter()
    time.sleep(0.06)
    call.stages(start, [("hash", 0.01), ("probe", 0.0), ("scan", 0.02)])
    call.describe(codes_scanned=7)
    spans = traced.spans()
    assert spans.keys() == {METHOD, "hash", "scan"}
    of_call, first, second = spans[METHOD], spans["hash"], spans["scan"]
    assert of_call.attributes["lookalike.codes_scanned"] == 7
    assert {first.parent_id, second.parent_id} == {of_call.span_id}
    assert of_call.start_ns <= first.start_ns
    assert (first.end_ns - first.start_ns, second.end_ns - second.start_ns) == (10_000_000, 20_000_000)
    assert first.end_ns == second.start_ns
    assert second.end_ns <= of_call.end_ns


def test_a_call_to_another_service_takes_the_trace_along(traced: Traced) -> None:
    traced.begin()
    with tracing.outgoing("x.Y/Z", shard=3) as headers:
        pass
    spans = traced.spans()
    out = spans["x.Y/Z"]
    # Sampled, and with a random id.
    assert headers == {"traceparent": f"00-{out.trace_id}-{out.span_id}-03"}
    assert (out.kind, out.parent_id) == (3, spans[METHOD].span_id)
    assert out.attributes["lookalike.shard"] == 3
    assert not out.failed


def test_calls_that_are_made_together_have_spans_of_their_own(traced: Traced) -> None:
    traced.begin()
    late, failed = tracing.begin_outgoing("x.Y/Z", ({"shard": number} for number in range(2)))
    late.end(seconds=0.25)
    failed.end(InvalidInputError("secret", reason=Reason.FIELD_MISSING))
    traced.spans()
    spans = {s.attributes.get("lookalike.shard"): s for s in traced.collector.spans if s.name == "x.Y/Z"}
    for number, call in enumerate((late, failed)):
        out = spans[number]
        assert call.headers == {"traceparent": f"00-{out.trace_id}-{out.span_id}-03"}
        assert out.kind == 3
    assert spans[0].end_ns - spans[0].start_ns == pytest.approx(250_000_000, abs=50_000_000)
    assert (spans[0].failed, spans[1].failed) == (False, True)
    assert spans[1].attributes["error.type"] == "FIELD_MISSING"


@pytest.mark.parametrize("parent", ["", PARENT.format("00")])
def test_other_services_hear_that_a_call_is_not_sampled(collector: Collector, parent: str) -> None:
    tracing_ = open_tracing("test", ServerSettings(trace_endpoint=collector.endpoint, trace_sample_ratio=0.0))
    assert tracing_

    def call() -> tuple[TracedCall | None, str]:
        headers = (("traceparent", parent),) if parent else ()
        begun = tracing_.begin(f"/{METHOD}", headers, time.perf_counter())
        assert tracing.begin_outgoing("x.Y/Z", [{}]) == []
        with tracing.outgoing("x.Y/Z") as headers:
            assert tracing.untraced_headers() == headers
            return begun, headers["traceparent"]

    begun, sent = copy_context().run(call)
    tracing_.close()
    assert begun is None
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[02]", sent), sent
    assert sent.split("-")[1] == parent.split("-")[1] if parent else True
    assert sent.split("-")[1] != "0" * 32
    assert not collector.spans


def test_what_goes_wrong_on_the_way_is_in_the_span(traced: Traced) -> None:
    traced.begin()
    with pytest.raises(InvalidInputError), tracing.outgoing("x.Y/Z"):
        raise InvalidInputError("secret", reason=Reason.FIELD_MISSING)
    with pytest.raises(asyncio.CancelledError), tracing.stage("prepare"):
        raise asyncio.CancelledError
    spans = traced.spans()
    assert spans["x.Y/Z"].attributes["error.type"] == "FIELD_MISSING"
    assert spans["prepare"].attributes["error.type"] == "CancelledError"
    assert spans["x.Y/Z"].failed
    assert "secret" not in str(spans)


def test_a_batch_is_part_of_one_call_and_linked_to_the_others(traced: Traced) -> None:
    first, second = traced.begin(), traced.begin()
    tracing._current.set(None)
    with tracing.on_behalf_of([None, first, second, first]), tracing.outgoing("x.Y/Z") as headers:
        pass
    assert tracing.current_call() is None
    out = traced.spans()["x.Y/Z"]
    assert first.trace_id in headers["traceparent"]
    assert out.links == (f"{second.span.get_span_context().span_id:016x}",)


def test_without_an_endpoint_there_is_nothing() -> None:
    assert open_tracing("test", ServerSettings()) is None
    assert tracing.current_call() is None
    assert tracing.exemplar() is None
    with tracing.on_behalf_of([None]), tracing.stage("prepare"), tracing.outgoing("x.Y/Z") as headers:
        assert headers == {}


def test_a_service_without_tracing_does_not_import_opentelemetry() -> None:
    code = "import sys, gateway.server, hasher.server, embedder.server; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(InvalidInputError, match=r"pip install 'lookalike\[tracing\]'") as caught:
        open_tracing("test", ServerSettings(trace_endpoint="http://127.0.0.1:4317"))
    assert (caught.value.reason, caught.value.field) == (Reason.CONFIG_INVALID, "trace_endpoint")
