"""What every service reports of its process: its calls, its event loop, its garbage collector, its build."""

from __future__ import annotations

import asyncio
import gc
import platform
import time
from collections.abc import Iterable, Iterator
from functools import cache

import grpc
from prometheus_client import Counter, Histogram

from lookalike import __version__
from lookalike.runtime.calls import KINDS, Calls
from lookalike.runtime.idle import TimedEventLoop
from lookalike.runtime.logs import dropped_lines
from lookalike.runtime.metrics import LATENCY_BUCKETS, Metrics, Read, Value

LAG_SECONDS = 0.25
"""Between two looks at how late the event loop is."""
OUR_FAULTS = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
"""What counts against the objectives; see ``deploy/prometheus/rules``."""
_LABELS = ("grpc_type", "grpc_service", "grpc_method")
_READ = (
    Read("lookalike_build_info", "The build that runs; always 1.", ("service", "version", "python")),
    Read("lookalike_calls_in_progress", "Calls, streams, and probes of health and reflection.", ("kind",)),
    Read(
        "lookalike_requests_in_progress_bytes",
        "Size of the requests being answered, streams apart.",
    ),
    Read(
        "lookalike_calls_refused_total",
        "Calls refused before their handler: too_many at once, too_large together, or the server is"
        " stopping.",
        ("kind", "cause"),
        "counter",
    ),
    Read(
        "lookalike_event_loop_idle_seconds_total",
        "Seconds that the event loop had nothing to do; none are left where a service takes no more calls.",
        type="counter",
    ),
    Read(
        "lookalike_log_lines_dropped_total",
        "Log lines that were not written because nobody read them in time.",
        type="counter",
    ),
    Read(
        "lookalike_gc_pause_seconds",
        "Seconds that Python's garbage collector stopped the process, by the generation that was collected.",
        ("generation",),
        "summary",
    ),
)


class ProcessMetrics:
    """The metrics of a server's process.

    Args:
        metrics: The process's registry.
        service: Its name.
        calls: Those of its server.
    """

    def __init__(self, metrics: Metrics, service: str, calls: Calls) -> None:
        self._metrics = metrics
        self._service = service
        self._calls = calls
        self._pauses = _gc_pauses()
        self._loop: asyncio.AbstractEventLoop | None = None
        # These names are those of gRPC's server libraries in other languages, so that their dashboards fit.
        self._handled = metrics.register(
            Counter(
                "grpc_server_handled_total",
                "Calls completed, by status code.",
                (*_LABELS, "grpc_code"),
                registry=None,
            )
        )
        self._handling_seconds = metrics.register(
            Histogram(
                "grpc_server_handling_seconds",
                "Seconds from a call's start to its end, however it ends.",
                _LABELS,
                buckets=LATENCY_BUCKETS,
                registry=None,
            )
        )
        self._retried = metrics.counter(
            "lookalike_retried_calls_total",
            "Calls that a client sent again after they had failed.",
            ("grpc_method",),
        )
        self._lag = metrics.histogram(
            "lookalike_event_loop_lag_seconds",
            "Seconds that the event loop was late to do what was due; what every call waits in each step.",
        )
        metrics.read(_READ, self._values)
        self._ends: dict[tuple[tuple[str, str, str], str], tuple[Counter, Histogram]] = {}

    def serves(self, methods: Iterable[tuple[str, str, str]]) -> None:
        """Shows how methods end, by type, service and name, before the first of their calls has ended.

        Times are left: each method has twenty series of them.
        """
        for labels in methods:
            for code in (grpc.StatusCode.OK, *OUR_FAULTS):
                self._handled.labels(*labels, code.name)
            self._retried.labels(labels[-1])

    def ended(self, labels: tuple[str, str, str], code: grpc.StatusCode, seconds: float) -> None:
        """Counts a call that has ended.

        Args:
            labels: Type, service and method.
            code: Its status.
            seconds: From its start to its end.
        """
        key = labels, code.name
        end = self._ends.get(key)
        if end is None:
            end = self._handled.labels(*labels, code.name), self._handling_seconds.labels(*labels)
            self._ends[key] = end
        end[0].inc()
        end[1].observe(seconds, self._metrics.exemplar())

    def retried(self, method: str) -> None:
        """Counts a call that its client had sent before."""
        self._retried.labels(method).inc()

    async def watch_event_loop(self) -> None:
        """Measures for ever how late the event loop is."""
        self._loop = asyncio.get_running_loop()
        while True:
            due = time.perf_counter() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._lag.observe(max(time.perf_counter() - due, 0.0))

    def _values(self) -> Iterator[Value]:
        calls = self._calls
        yield "lookalike_build_info", (self._service, __version__, platform.python_version()), 1
        for kind in KINDS:
            yield "lookalike_calls_in_progress", (kind,), calls.in_progress(kind)
        yield "lookalike_requests_in_progress_bytes", (), calls.request_bytes()
        for (kind, cause), count in dict(calls.refused).items():
            yield "lookalike_calls_refused_total", (kind, cause), count
        idle_seconds = self._loop.idle_seconds if isinstance(self._loop, TimedEventLoop) else 0.0
        yield "lookalike_event_loop_idle_seconds_total", (), idle_seconds
        yield "lookalike_log_lines_dropped_total", (), dropped_lines()
        for generation, (count, seconds) in enumerate(self._pauses.by_generation):
            yield "lookalike_gc_pause_seconds_count", (str(generation),), count
            yield "lookalike_gc_pause_seconds_sum", (str(generation),), seconds


class _GcPauses:
    """Adds up the pauses of the garbage collector.

    Not in a metric: it may begin in the midst of counting, while the metric's lock is held.
    """

    def __init__(self) -> None:
        self.by_generation = [(0, 0.0)] * len(gc.get_stats())
        self._start = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._start = time.perf_counter()
            return
        count, seconds = self.by_generation[info["generation"]]
        self.by_generation[info["generation"]] = count + 1, seconds + time.perf_counter() - self._start


@cache
def _gc_pauses() -> _GcPauses:
    """Returns the process's only one."""
    pauses = _GcPauses()
    gc.callbacks.append(pauses)
    return pauses
