"""Prometheus metrics of one process, in a registry of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from lookalike.runtime.calls import KINDS, Calls
from lookalike.runtime.listen import listen
from lookalike.runtime.logs import dropped_lines

# 100 µs to a minute: a vector search's kernel and a bulk write both fall well inside.
LATENCY_BUCKETS = tuple(
    step * scale for scale in (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0) for step in (1.0, 2.5, 5.0)
)


class Metrics:
    """The metrics of one process. Names of our own start with ``lookalike_`` and end in a unit."""

    def __init__(self) -> None:
        # When each series began doubles their number, and nobody asks.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_DroppedLines())
        self.handled = Counter(
            "grpc_server_handled_total",
            "Calls completed, by status code.",
            ("grpc_type", "grpc_service", "grpc_method", "grpc_code"),
            registry=self.registry,
        )
        self.handling_seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time from a call's start to its end, in seconds.",
            ("grpc_type", "grpc_service", "grpc_method"),
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._calls = self.gauge(
            "lookalike_calls_in_progress", "Calls, streams, and probes of health and reflection.", ("kind",)
        )
        self._request_bytes = self.gauge(
            "lookalike_request_bytes_in_progress", "Size of the requests being answered, streams apart."
        )

    def watch_calls(self, calls: Calls) -> None:
        """Shows the calls in progress of the process's server."""
        for kind in KINDS:
            self._calls.labels(kind).set_function(partial(calls.in_progress, kind))
        self._request_bytes.set_function(calls.request_bytes)

    def counter(self, name: str, doc: str, labels: Sequence[str] = ()) -> Counter:
        """Makes a counter; ``name`` ends in ``_total``."""
        return Counter(_own(name), doc, labels, registry=self.registry)

    def gauge(self, name: str, doc: str, labels: Sequence[str] = ()) -> Gauge:
        """Makes a gauge."""
        return Gauge(_own(name), doc, labels, registry=self.registry)

    def histogram(
        self, name: str, doc: str, labels: Sequence[str] = (), buckets: Sequence[float] = LATENCY_BUCKETS
    ) -> Histogram:
        """Makes a histogram; the default buckets suit seconds."""
        return Histogram(_own(name), doc, labels, buckets=buckets, registry=self.registry)


class _DroppedLines(Collector):
    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(
            "lookalike_log_lines_dropped_total",
            "Log lines that were not written because nobody read them in time.",
            value=dropped_lines(),
        )


def _own(name: str) -> str:
    if not name.startswith("lookalike_"):
        raise ValueError(f"metric {name} must start with lookalike_")
    return name


class MetricsServer:
    """Serves ``/metrics`` over HTTP, from a thread for each address of the host.

    Args:
        metrics: What is served.
        host: A name or an address.
        port: 0 takes a free one.
        exposed: Whether a host that other machines reach is allowed.

    Raises:
        InvalidInputError: The port cannot be bound (``CONFIG_INVALID``).
    """

    def __init__(self, metrics: Metrics, host: str, port: int, *, exposed: bool = False) -> None:
        self._metrics = metrics
        self._servers: list[tuple[WSGIServer, Thread]] = []
        try:
            self.port = listen(host, port, self._serve, exposed=exposed)
        except BaseException:
            self.stop()
            raise

    def _serve(self, address: str, port: int) -> int:
        server, thread = start_http_server(port, addr=address, registry=self._metrics.registry)
        self._servers.append((server, thread))
        return int(server.server_port)

    def stop(self) -> None:
        """Stops the threads and frees the port."""
        for server, thread in self._servers:
            server.shutdown()
            server.server_close()
            thread.join()
