"""The gateway's own metrics."""

from __future__ import annotations

from lookalike.runtime.metrics import Metrics
from lookalike.v1 import types_pb2

_RATIO_BUCKETS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
_STAGES = ("admit", "embed", "fanout", "hash", "probe", "scan", "rerank", "merge")


class Telemetry:
    """What the gateway measures.

    Args:
        metrics: The process's registry.
    """

    def __init__(self, metrics: Metrics) -> None:
        stage_seconds = metrics.histogram(
            "lookalike_gateway_stage_seconds", "Time that a stage of a search took, in seconds.", ("stage",)
        )
        self._stages = {stage: stage_seconds.labels(stage) for stage in _STAGES}
        self._coverage_ratio = metrics.histogram(
            "lookalike_gateway_coverage_ratio",
            "Share of the shards that a search's answer rests on.",
            buckets=_RATIO_BUCKETS,
        )
        self._shard_failures = metrics.counter(
            "lookalike_gateway_shard_failures_total", "Calls to a shard that failed or came late.", ("shard",)
        )
        self._codes_scanned = metrics.counter(
            "lookalike_gateway_codes_scanned_total", "Codes that were compared with queries."
        )
        self._items_written = metrics.counter(
            "lookalike_gateway_items_written_total", "Items of acknowledged writes.", ("operation",)
        )
        self._up = metrics.gauge(
            "lookalike_gateway_dependency_up",
            "Whether a service that the gateway calls answered the last check.",
            ("dependency",),
        )

    def observe_search(self, timing: types_pb2.Timing, coverage: types_pb2.Coverage) -> None:
        """Takes the figures of one answered search; stages that it did not have are left out."""
        for stage, histogram in self._stages.items():
            seconds = getattr(timing, f"{stage}_seconds")
            if seconds:
                histogram.observe(seconds)
        self.observe_coverage(coverage.shards_answered, coverage.shards_total)
        self._codes_scanned.inc(coverage.codes_scanned)

    def observe_coverage(self, answered: int, total: int) -> None:
        """Takes the coverage of one search, answered or refused."""
        self._coverage_ratio.observe(answered / total)

    def count_shard_failure(self, shard: int) -> None:
        """Counts one failed call to a shard."""
        self._shard_failures.labels(str(shard)).inc()

    def count_written(self, operation: str, items: int) -> None:
        """Counts acknowledged items; ``operation`` is "upsert" or "delete"."""
        self._items_written.labels(operation).inc(items)

    def set_up(self, dependency: str, up: bool) -> None:
        """Says whether a service answered; ``dependency`` is "embedder" or "shard" and its number."""
        self._up.labels(dependency).set(up)
