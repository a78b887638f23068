"""What the search port counts, as part of the same metrics that Python counts."""

from __future__ import annotations

from collections.abc import Iterator

from hasher.metrics import STAGE_BUCKETS
from lookalike import _native
from lookalike.runtime.joined import Counted, histogram
from lookalike.runtime.metrics import LATENCY_BUCKETS, Metrics
from lookalike.wire.status import CODES_BY_NUMBER


def join(metrics: Metrics, port: _native.SearchPort) -> None:
    """Adds what a port counts to the metrics of its process, whenever they are read."""
    counted = _Counted(port)
    for name, samples in {
        "lookalike_hasher_stage_seconds": counted.stages,
        "lookalike_hasher_codes_scanned_total": counted.codes_scanned,
        "lookalike_hasher_buckets_probed_total": counted.buckets_probed,
        "lookalike_hasher_candidates_reranked_total": counted.reranked,
        "grpc_server_handled_total": counted.handled,
        "grpc_server_handling_seconds": counted.handling,
        "lookalike_retried_calls_total": counted.retried,
        "lookalike_calls_in_progress": counted.running,
        "lookalike_requests_in_progress_bytes": counted.request_bytes,
        "lookalike_calls_refused_total": counted.refused,
        "lookalike_log_lines_dropped_total": counted.log_lines_dropped,
        "lookalike_hasher_search_panics_total": counted.panics,
        "lookalike_hasher_waiting_searches": counted.waiting,
    }.items():
        metrics.join(name, samples)


class _Counted:
    """The samples of each metric.

    Args:
        port: Whose they are.
    """

    def __init__(self, port: _native.SearchPort) -> None:
        self._port = port

    def stages(self) -> Iterator[Counted]:
        for stage, exact, (counts, total, exemplars) in self._port.metrics()["stages"]:
            labels = {"stage": stage, "exact": str(exact).lower()}
            yield from histogram(labels, STAGE_BUCKETS, counts, total, exemplars)

    def codes_scanned(self) -> Iterator[Counted]:
        yield "_total", {}, self._port.metrics()["codes_scanned"]

    def buckets_probed(self) -> Iterator[Counted]:
        yield "_total", {}, self._port.metrics()["buckets_probed"]

    def reranked(self) -> Iterator[Counted]:
        for exact, count in zip(("false", "true"), self._port.metrics()["reranked"], strict=True):
            yield "_total", {"exact": exact}, count

    def handled(self) -> Iterator[Counted]:
        for grpc_type, path, code, count in self._port.metrics()["handled"]:
            yield "_total", {**_method(grpc_type, path), "grpc_code": CODES_BY_NUMBER[code].name}, count

    def handling(self) -> Iterator[Counted]:
        for grpc_type, path, (counts, total, exemplars) in self._port.metrics()["handling"]:
            if any(counts):
                labels = _method(grpc_type, path)
                yield from histogram(labels, LATENCY_BUCKETS, counts, total, exemplars)

    def retried(self) -> Iterator[Counted]:
        for path, count in self._port.metrics()["retried"]:
            if count:
                yield "_total", {"grpc_method": path.rpartition("/")[2]}, count

    def running(self) -> Iterator[Counted]:
        for kind, count in zip(("call", "probe"), self._port.metrics()["running"], strict=True):
            yield "", {"kind": kind}, count

    def request_bytes(self) -> Iterator[Counted]:
        yield "", {}, self._port.metrics()["request_bytes"]

    def refused(self) -> Iterator[Counted]:
        for kind, cause, count in self._port.metrics()["refused"]:
            if count:
                yield "_total", {"kind": kind, "cause": cause}, count

    def log_lines_dropped(self) -> Iterator[Counted]:
        yield "_total", {}, self._port.metrics()["events_dropped"]

    def panics(self) -> Iterator[Counted]:
        yield "_total", {}, self._port.metrics()["panics"]

    def waiting(self) -> Iterator[Counted]:
        for kind, count in zip(("ordinary", "long"), self._port.metrics()["waiting"], strict=True):
            yield "", {"kind": kind}, count


def _method(grpc_type: str, path: str) -> dict[str, str]:
    _, service, method = path.split("/")
    return {"grpc_type": grpc_type, "grpc_service": service, "grpc_method": method}
