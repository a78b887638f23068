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
from lookalike.runtime.front import Front
from lookalike.runtime.joined import Counted, histogram
from lookalike.runtime.logs import dropped_lines
from lookalike.runtime.methods import KINDS, Method
from lookalike.runtime.metrics import LATENCY_BUCKETS, Metrics, Read, Value
from lookalike.wire.status import CODES_BY_NUMBER

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
        "Size of the requests being received and answered, streams apart.",
    ),
    Read(
        "lookalike_calls_refused_total",
        "Calls refused before their handler: too_many at once, too_large together, limited by admission,"
        " unread (the client does not read the answers to others), or the server is stopping.",
        ("kind", "cause"),
        "counter",
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
        front: Counts what it answers by itself.
    """

    def __init__(self, metrics: Metrics, service: str, front: Front) -> None:
        self._metrics = metrics
        self._service = service
        self._front = front
        self._pauses = _gc_pauses()
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
        self._waits = metrics.histogram(
            "lookalike_call_wait_seconds",
            "Seconds that calls which were here as a whole waited until the event loop took them.",
        )
        metrics.read(_READ, self._values)
        metrics.join("grpc_server_handled_total", self._unanswered)
        metrics.join("grpc_server_handling_seconds", self._unanswered_seconds)
        metrics.join("lookalike_retried_calls_total", self._sent_again)
        self._ends: dict[tuple[tuple[str, str, str], str], tuple[Counter, Histogram]] = {}

    def serves(self, methods: Iterable[Method]) -> None:
        """Shows how methods end before the first of their calls has ended.

        Times are left: each method has twenty series of them.
        """
        for method in methods:
            for code in (grpc.StatusCode.OK, *OUR_FAULTS):
                self._handled.labels(*method.labels, code.name)
            self._retried.labels(method.name)

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

    def taken(self, waited_seconds: float) -> None:
        """Times how long a call waited until it was taken."""
        self._waits.observe(waited_seconds)

    async def watch_event_loop(self) -> None:
        """Measures for ever how late the event loop is."""
        while True:
            due = time.perf_counter() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._lag.observe(max(time.perf_counter() - due, 0.0))

    def _unanswered(self) -> Iterator[Counted]:
        for method, code, count in self._front.unanswered():
            yield "_total", {**_labels(method), "grpc_code": CODES_BY_NUMBER[code].name}, count

    def _unanswered_seconds(self) -> Iterator[Counted]:
        """Refusals take no time that anyone has measured."""
        for method, _, count in self._front.unanswered():
            counts = [count, *(0 for _ in LATENCY_BUCKETS)]
            yield from histogram(_labels(method), LATENCY_BUCKETS, counts, 0.0)

    def _sent_again(self) -> Iterator[Counted]:
        for method, count in self._front.retried():
            yield "_total", {"grpc_method": method.name}, count

    def _values(self) -> Iterator[Value]:
        yield "lookalike_build_info", (self._service, __version__, platform.python_version()), 1
        for kind in KINDS:
            yield "lookalike_calls_in_progress", (kind,), self._front.in_progress(kind)
        yield "lookalike_requests_in_progress_bytes", (), self._front.request_bytes()
        for of_kind, cause, count in self._front.refused():
            yield "lookalike_calls_refused_total", (of_kind, cause), count
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


def _labels(method: Method) -> dict[str, str]:
    return dict(zip(_LABELS, method.labels, strict=True))
