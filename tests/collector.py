"""A receiver of spans: OpenTelemetry's own protocol, kept in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

WAIT_SECONDS = 30


@dataclass(frozen=True)
class Span:
    """A span as it was received; ids are hexadecimal."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    links: tuple[str, ...]
    failed: bool


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes what services export."""

    endpoint: str = ""
    spans: list[Span] = field(default_factory=list)

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        for resource in request.resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_span(service, span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def wait_for(self, done: Callable[[list[Span]], bool]) -> list[Span]:
        """Waits until spans are here; they come in batches, seconds after their calls."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not done(self.spans):
            assert time.monotonic() < deadline, [(span.service, span.name) for span in self.spans]
            time.sleep(0.05)
        return self.spans


@contextmanager
def collecting() -> Iterator[Collector]:
    """Serves a collector on a free port."""
    collector = Collector()
    # Else another test's server may listen on the same port, and be given spans of this one.
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


def _span(service: str, span: Any) -> Span:
    return Span(
        service,
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _values(span.attributes),
        tuple(link.span_id.hex() for link in span.links),
        span.status.code == 2,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}
