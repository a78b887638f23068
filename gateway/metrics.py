"""The gateway's own metrics."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from lookalike.runtime.metrics import Metrics
from lookalike.v1 import types_pb2

_RATIO_BUCKETS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


class GatewayMetrics:
    """Where the time goes, what is refused, and how the services are that the gateway calls.

    Args:
        metrics: The process's registry.
    """

    def __init__(self, metrics: Metrics) -> None:
        stage_seconds = metrics.histogram(
            "lookalike_gateway_stage_seconds",
            "Seconds of a search, answered or not, in a stage: admit, embed, fanout, hash, probe, scan,"
            " rerank, merge.",
            ("stage",),
        )
        self._admit = stage_seconds.labels("admit")
        self._embed = stage_seconds.labels("embed")
        self._fanout = stage_seconds.labels("fanout")
        self._hash = stage_seconds.labels("hash")
        self._probe = stage_seconds.labels("probe")
        self._scan = stage_seconds.labels("scan")
        self._rerank = stage_seconds.labels("rerank")
        self._merge = stage_seconds.labels("merge")
        write_seconds = metrics.histogram(
            "lookalike_gateway_write_seconds",
            "Seconds of a write in a stage: prepare (checks and embedding), append (the log).",
            ("stage",),
        )
        self._prepare, self._append = write_seconds.labels("prepare"), write_seconds.labels("append")
        self._coverage_ratio = metrics.histogram(
            "lookalike_gateway_coverage_ratio",
            "Share of the shards that a search's answer rests on.",
            buckets=_RATIO_BUCKETS,
        )
        self._codes_scanned = metrics.counter(
            "lookalike_gateway_codes_scanned_total", "Codes that were compared with queries."
        )
        self._items_written = metrics.counter(
            "lookalike_gateway_items_written_total", "Items of acknowledged writes.", ("operation",)
        )
        self._refused = metrics.counter(
            "lookalike_gateway_refused_total", "Requests refused because too many waited.", ("what",)
        )
        self._running = metrics.gauge(
            "lookalike_gateway_running_requests", "Requests that hold a slot.", ("what",)
        )
        self._waiting = metrics.gauge(
            "lookalike_gateway_waiting_requests", "Requests that wait for a slot.", ("what",)
        )
        self._watch_peers(metrics)

    def _watch_peers(self, metrics: Metrics) -> None:
        self._shard_seconds = metrics.histogram(
            "lookalike_gateway_shard_seconds", "Seconds until one shard answered a call.", ("call",)
        )
        self._shard_failures = metrics.counter(
            "lookalike_gateway_shard_failures_total", "Calls to a shard that failed or came late.", ("shard",)
        )
        self._up = metrics.gauge(
            "lookalike_gateway_dependency_up",
            "Whether a service that the gateway calls answered the last check, with all data it should have.",
            ("dependency",),
        )
        self._silent = metrics.gauge(
            "lookalike_gateway_shard_silent",
            "Whether a shard is left alone as it stopped answering.",
            ("shard",),
        )
        self._generations = metrics.gauge(
            "lookalike_gateway_shard_generations",
            "Generations of a shard that are missing, orphaned (no collection's) or failed (take no writes).",
            ("shard", "problem"),
        )
        self._collections = metrics.gauge(
            "lookalike_gateway_collections", "Collections by state: creating, ready or deleting.", ("state",)
        )

    def searched(self, timing: types_pb2.Timing) -> None:
        """Takes the stages of one search, answered or not; those that it did not reach are left out."""
        for stage, seconds in (
            (self._admit, timing.admit_seconds),
            (self._embed, timing.embed_seconds),
            (self._fanout, timing.fanout_seconds),
            (self._hash, timing.hash_seconds),
            (self._probe, timing.probe_seconds),
            (self._scan, timing.scan_seconds),
            (self._rerank, timing.rerank_seconds),
            (self._merge, timing.merge_seconds),
        ):
            if seconds:
                stage.observe(seconds)

    def covered(self, coverage: types_pb2.Coverage) -> None:
        """Takes the coverage of one search, answered or refused."""
        self._coverage_ratio.observe(coverage.shards_answered / coverage.shards_total)
        self._codes_scanned.inc(coverage.codes_scanned)

    def preparing(self) -> AbstractContextManager[object]:
        """Times the checks and the embedding of a write."""
        return self._prepare.time()

    def appending(self) -> AbstractContextManager[object]:
        """Times a write's way into the log."""
        return self._append.time()

    def written(self, operation: str, items: int) -> None:
        """Counts acknowledged items; ``operation`` is "upsert" or "delete"."""
        self._items_written.labels(operation).inc(items)

    def shard_answered(self, call: str, seconds: float) -> None:
        """Takes how long one shard took to answer; ``call`` is the name of the call."""
        self._shard_seconds.labels(call).observe(seconds)

    def shard_failed(self, shard: int) -> None:
        """Counts one failed call to a shard."""
        self._shard_failures.labels(str(shard)).inc()

    def shard_silent(self, shard: int, silent: bool) -> None:
        """Notes whether a shard is left alone."""
        self._silent.labels(str(shard)).set(silent)

    def refused(self, what: str) -> None:
        """Counts one request that was refused; ``what`` is "searches" or "writes"."""
        self._refused.labels(what).inc()

    def watch_slots(self, what: str, running: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Takes the number of requests of one kind whenever the metrics are read."""
        self._running.labels(what).set_function(running)
        self._waiting.labels(what).set_function(waiting)

    def checked(self, dependency: str, up: bool) -> None:
        """Notes the outcome of a check; ``dependency`` is "embedder", or "shard" and its number."""
        self._up.labels(dependency).set(up)

    def found_generations(self, shard: int, *, missing: int, orphaned: int, failed: int) -> None:
        """Notes what is wrong with the generations of a shard."""
        for problem, count in (("missing", missing), ("orphaned", orphaned), ("failed", failed)):
            self._generations.labels(str(shard), problem).set(count)

    def watch_collections(self, state: str, count: Callable[[], int]) -> None:
        """Takes the number of collections in a state whenever the metrics are read."""
        self._collections.labels(state).set_function(count)
