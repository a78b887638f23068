"""Prometheus metrics of one process, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from threading import Thread
from typing import Literal, TypeVar
from wsgiref.simple_server import WSGIServer

import structlog
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
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from lookalike.runtime.joined import JoinedCollector, Samples
from lookalike.runtime.listen import listen

# 100 µs to a minute: a vector search's kernel and a bulk write both fall well inside.
LATENCY_BUCKETS = tuple(
    step * scale for scale in (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0) for step in (1.0, 2.5, 5.0)
)


Exemplar = Callable[[], dict[str, str] | None]
"""Returns the labels of the present task's trace, as ``{"trace_id": …}``; None: there is none.

Whoever asks for the OpenMetrics format is given the last of them with each bucket.
"""
Metric = TypeVar("Metric", Counter, Gauge, Histogram)
Family = CounterMetricFamily | GaugeMetricFamily | SummaryMetricFamily
log = structlog.get_logger()


def no_exemplar() -> None:
    """Returns no trace; what there is without tracing."""


@dataclass(frozen=True)
class Read:
    """A metric whose values are read whenever the metrics are."""

    name: str
    doc: str
    labels: tuple[str, ...] = ()
    type: Literal["counter", "gauge", "summary"] = "gauge"


Value = tuple[str, tuple[str, ...], float]
"""The name of a :class:`Read` metric, the values of its labels, and its own."""


class Metrics:
    """The metrics of one process. Names of our own start with ``lookalike_`` and end in a unit.

    What happens in a search is counted by children that were bound to their labels once: to look one up costs
    as much as to count.
    """

    def __init__(self) -> None:
        # When each series began doubles their number, and nobody needs it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.exemplar: Exemplar = no_exemplar
        """Asked at the end of each call, and of each search; tracing puts its own in place."""
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._elsewhere: dict[str, list[Samples]] = {}

    def register(self, metric: Metric) -> Metric:
        """Shows a metric that was made without a registry, with what is counted of it elsewhere."""
        self.registry.register(JoinedCollector(metric, self._elsewhere))
        return metric

    def join(self, name: str, samples: Samples) -> None:
        """Adds what is counted outside of Python to a metric whenever it is read.

        Args:
            name: The metric's, with the ``_total`` of a counter.
            samples: Returns what there is now.
        """
        self._elsewhere.setdefault(name.removesuffix("_total"), []).append(samples)

    def counter(self, name: str, doc: str, labels: Sequence[str] = ()) -> Counter:
        """Makes a counter; ``name`` ends in ``_total``."""
        return self.register(Counter(_own(name), doc, labels, registry=None))

    def gauge(self, name: str, doc: str, labels: Sequence[str] = ()) -> Gauge:
        """Makes a gauge."""
        return self.register(Gauge(_own(name), doc, labels, registry=None))

    def histogram(
        self, name: str, doc: str, labels: Sequence[str] = (), buckets: Sequence[float] = LATENCY_BUCKETS
    ) -> Histogram:
        """Makes a histogram; the default buckets suit seconds."""
        return self.register(Histogram(_own(name), doc, labels, buckets=buckets, registry=None))

    def read(self, declared: Iterable[Read], values: Callable[[], Iterable[Value]]) -> None:
        """Makes metrics that are read together, from the thread that answers whoever asks for them.

        Args:
            declared: Their names, help and labels.
            values: Returns what they are now. A summary has two values, of ``NAME_count`` and ``NAME_sum``.
        """
        self.registry.register(JoinedCollector(ReadCollector(declared, values), self._elsewhere))


class ReadCollector(Collector):
    """Metrics that are read together; see :meth:`Metrics.read`."""

    def __init__(self, declared: Iterable[Read], values: Callable[[], Iterable[Value]]) -> None:
        self.declared = tuple(declared)
        self._values = values
        for one in self.declared:
            _own(one.name)

    def describe(self) -> Iterator[Family]:
        """Names the metrics without reading them."""
        return iter(_families(self.declared).values())

    def collect(self) -> Iterator[Family]:
        """Reads the metrics; what cannot be read is left out, so that all others can be."""
        families = _families(self.declared)
        try:
            for name, labels, value in self._values():
                _add(families, name, labels, value)
        except Exception:
            log.exception("metrics_not_read", metrics=[one.name for one in self.declared])
        return iter(families.values())


def _families(declared: Sequence[Read]) -> dict[str, Family]:
    kinds: Mapping[str, type[Family]] = {
        "counter": CounterMetricFamily,
        "gauge": GaugeMetricFamily,
        "summary": SummaryMetricFamily,
    }
    return {one.name: kinds[one.type](one.name, one.doc, labels=one.labels) for one in declared}


def _add(families: Mapping[str, Family], name: str, labels: tuple[str, ...], value: float) -> None:
    part = next((part for part in ("_count", "_sum") if name not in families and name.endswith(part)), "")
    family = families[name.removesuffix(part)]
    sample = name if not isinstance(family, CounterMetricFamily) else f"{family.name}_total"
    family.add_sample(sample, dict(zip(family._labelnames, labels, strict=True)), value)


def _own(name: str) -> str:
    if not name.startswith("lookalike_"):
        raise ValueError(f"metric {name} must start with lookalike_")
    return name


def show_from_the_start(metric: Counter | Gauge | Histogram, *values: Iterable[str]) -> None:
    """Shows a metric's series before anything has happened.

    A series that appears with its first event has not grown, for whoever asks for its rate; and panels and
    rules cannot tell that nothing happened from nobody saying so.

    Args:
        metric: With labels.
        values: What each label can be; series are shown of all combinations.
    """
    for labels in product(*values):
        metric.labels(*labels)


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
