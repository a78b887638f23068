"""What the gateway reports of its work on ``/metrics``; of its state, :mod:`gateway.state` does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, get_args

from prometheus_client import Histogram

from gateway.outcome import CAUSES
from lookalike.runtime.metrics import Metrics, show_from_the_start
from lookalike.v1 import types_pb2

Requests = Literal["vector_searches", "photo_searches", "exact_searches", "writes"]
Cause = Literal["full", "stale", "late"]
_REFUSAL_CAUSES: tuple[Cause, ...] = ("full", "stale", "late")
GateEnding = Literal["boost", "narrow", "everywhere"]
WriteStage = Literal["slot", "check", "embed", "convert", "append"]
IngestStage = Literal["prepare", "wait", "write"]
_SEARCH_STAGES = (
    "slot", "admit", "lookup", "embed", "fanout", "hash", "probe", "scan", "rerank", "merge",
)  # fmt: skip
_WRITE_STAGES: tuple[WriteStage, ...] = ("slot", "check", "embed", "convert", "append")
_INGEST_STAGES: tuple[IngestStage, ...] = ("prepare", "wait", "write")
_EMBEDDER_CALLS = ("embed", "classify", "get_model")
_EMBEDDER_CAUSES = ("late", "unreachable", "overloaded", "stopping", "failed")
_RATIO_BUCKETS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
# Fewer than for other times: there is a histogram for each call and shard.
_SHARD_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
_BATCH_BUCKETS = (1, 8, 16, 32, 64, 128, 256, 512, 1000)


class GatewayMetrics:
    """Where the time of searches and writes goes, what is refused, and how the called services answer.

    Args:
        metrics: The process's registry.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._watch_searches(metrics)
        self._watch_writes(metrics)
        self._watch_slots(metrics)
        self._watch_peers(metrics)

    def _watch_searches(self, metrics: Metrics) -> None:
        stage_seconds = metrics.histogram(
            "lookalike_gateway_stage_seconds",
            "Seconds of a search, answered or not, in a stage: slot (waiting for one), admit (checks), lookup"
            " (of the vector of an item), embed, fanout, merge; and within fanout, by the shard that took"
            " longest: hash, probe, scan, rerank.",
            ("stage",),
        )
        self._stages = {stage: stage_seconds.labels(stage) for stage in _SEARCH_STAGES}
        self._coverage_ratio = metrics.histogram(
            "lookalike_gateway_coverage_ratio",
            "Share of the shards that a search's answer rests on.",
            buckets=_RATIO_BUCKETS,
        )
        self._codes_scanned = metrics.counter(
            "lookalike_gateway_codes_scanned_total", "Codes that were compared with queries."
        )
        self._gates = metrics.counter(
            "lookalike_gateway_category_gates_total",
            "Searches with category_gate by what became of it: boost, narrow, or everywhere, where too little"
            " was known of the category.",
            ("ending",),
        )
        show_from_the_start(self._gates, get_args(GateEnding))

    def _watch_writes(self, metrics: Metrics) -> None:
        write_seconds = metrics.histogram(
            "lookalike_gateway_write_seconds",
            "Seconds of a write, acknowledged or not, in a stage: slot (waiting for one), check, embed,"
            " convert, append (the log, until the write is durable).",
            ("stage",),
        )
        self._writes = {stage: write_seconds.labels(stage) for stage in _WRITE_STAGES}
        ingest_seconds = metrics.histogram(
            "lookalike_gateway_ingest_seconds",
            "Seconds of one batch of a bulk load in a stage: prepare (slot, check, embed, convert), wait (for"
            " the batch before it), write (slot, append).",
            ("stage",),
        )
        self._ingests = {stage: ingest_seconds.labels(stage) for stage in _INGEST_STAGES}
        self._ingest_batch = metrics.histogram(
            "lookalike_gateway_ingest_batch_items",
            "Items of one batch of a bulk load.",
            buckets=_BATCH_BUCKETS,
        )
        self._ingest_pauses = metrics.counter(
            "lookalike_gateway_ingest_pauses_total", "Times that a bulk load waited as there was no slot."
        )
        self._items_written = metrics.counter(
            "lookalike_gateway_items_written_total", "Items of acknowledged writes.", ("operation",)
        )
        self._items_refused = metrics.counter(
            "lookalike_gateway_items_refused_total",
            "Items of acknowledged writes that were refused one by one.",
            ("operation",),
        )
        for counter in (self._items_written, self._items_refused):
            show_from_the_start(counter, ("upsert", "delete"))

    def _watch_slots(self, metrics: Metrics) -> None:
        self._refused = metrics.counter(
            "lookalike_gateway_refused_total",
            "Requests that got no slot: too many waited (full), they were the oldest of a queue that lasts"
            " (stale), or waited until their deadline (late).",
            ("what", "cause"),
        )
        self._running = metrics.gauge(
            "lookalike_gateway_running_requests", "Requests that hold a slot.", ("what",)
        )
        self._waiting = metrics.gauge(
            "lookalike_gateway_waiting_requests", "Requests that wait for a slot.", ("what",)
        )
        self._limit = metrics.gauge(
            "lookalike_gateway_most_running_requests",
            "Requests that may hold a slot; of searches as many as do not slow each other down too much.",
            ("what",),
        )
        self._overloaded = metrics.gauge(
            "lookalike_gateway_overloaded", "1 while more is asked than can be answered, else 0.", ("what",)
        )

    def _watch_peers(self, metrics: Metrics) -> None:
        self._shard_seconds = metrics.histogram(
            "lookalike_gateway_shard_seconds",
            "Seconds until one shard answered a call, or it was given up.",
            ("call", "shard"),
            _SHARD_BUCKETS,
        )
        self._shard_children: dict[tuple[str, int], Histogram] = {}
        self._shard_failures = metrics.counter(
            "lookalike_gateway_shard_failures_total",
            "Calls to a shard that failed, by cause: late, silent (not called as it does not answer),"
            " unreachable, overloaded, behind (log position not reached), disk_full, stopping, data (missing"
            " or damaged), misplaced (of another layout or installation), failed.",
            ("shard", "cause"),
        )
        self._embedder_seconds = metrics.histogram(
            "lookalike_gateway_embedder_seconds",
            "Seconds until the embedder answered a call, or it was given up.",
            ("call",),
        )
        self._embedder_failures = metrics.counter(
            "lookalike_gateway_embedder_failures_total",
            "Calls to the embedder that failed, by cause as those to shards.",
            ("call", "cause"),
        )
        show_from_the_start(self._embedder_seconds, _EMBEDDER_CALLS)
        show_from_the_start(self._embedder_failures, _EMBEDDER_CALLS, _EMBEDDER_CAUSES)
        self._embedder_model = metrics.gauge(
            "lookalike_gateway_embedder_model_info", "The model that the embedder serves.", ("model_version",)
        )
        self._embedder_serves = ""
        self._up = metrics.gauge(
            "lookalike_gateway_dependency_up",
            "Whether a service that the gateway calls answered the last check, with all data it should have.",
            ("dependency",),
        )
        self._silent_calls: set[tuple[int, str]] = set()
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

    # Searches

    def searched(self, timing: types_pb2.Timing, *, slot_seconds: float, lookup_seconds: float) -> None:
        """Takes the stages of one search, answered or not; those that it did not reach are left out.

        Args:
            timing: As callers see it: admitting includes both of the following.
            slot_seconds: What it waited for its slot.
            lookup_seconds: What looking up its item took.
        """
        exemplar = self._metrics.exemplar()
        stages = self._stages
        stages["slot"].observe(slot_seconds, exemplar)
        for stage, seconds in (
            ("admit", timing.admit_seconds - slot_seconds - lookup_seconds),
            ("lookup", lookup_seconds),
            ("embed", timing.embed_seconds),
            ("fanout", timing.fanout_seconds),
            ("hash", timing.hash_seconds),
            ("probe", timing.probe_seconds),
            ("scan", timing.scan_seconds),
            ("rerank", timing.rerank_seconds),
            ("merge", timing.merge_seconds),
        ):
            if seconds > 0:
                stages[stage].observe(seconds, exemplar)

    def covered(self, coverage: types_pb2.Coverage, searches: int) -> None:
        """Takes the coverage of searches that were made together, answered or refused."""
        for _ in range(searches):
            self._coverage_ratio.observe(coverage.shards_answered / coverage.shards_total)
        self._codes_scanned.inc(coverage.codes_scanned)

    def gated(self, ending: GateEnding) -> None:
        """Counts one search with a gate."""
        self._gates.labels(ending).inc()

    # Writes

    def writing(self, stage: WriteStage) -> AbstractContextManager[object]:
        """Times one stage of a write."""
        return self._writes[stage].time()

    def ingest_took(self, stage: IngestStage, seconds: float) -> None:
        """Takes the time of one stage of a bulk load's batch."""
        self._ingests[stage].observe(seconds)

    def ingested(self, items: int) -> None:
        """Takes the size of one batch of a bulk load that was written."""
        self._ingest_batch.observe(items)

    def ingest_paused(self) -> None:
        """Counts one time that a bulk load waited for a slot."""
        self._ingest_pauses.inc()

    def written(self, operation: str, items: int, refused: int) -> None:
        """Counts the items of a write; ``operation`` is "upsert" or "delete"."""
        self._items_written.labels(operation).inc(items)
        if refused:
            self._items_refused.labels(operation).inc(refused)

    # Slots

    def refused(self, what: Requests, cause: Cause) -> None:
        """Counts one request that got no slot."""
        self._refused.labels(what, cause).inc()

    def watch_slots(
        self,
        what: Requests,
        *,
        running: Callable[[], int],
        waiting: Callable[[], int],
        limit: Callable[[], int],
        is_over: Callable[[], bool],
    ) -> None:
        """Takes the number of requests of one kind whenever the metrics are read."""
        show_from_the_start(self._refused, (what,), _REFUSAL_CAUSES)
        self._limit.labels(what).set_function(limit)
        self._overloaded.labels(what).set_function(is_over)
        self._running.labels(what).set_function(running)
        self._waiting.labels(what).set_function(waiting)

    # What the gateway calls

    def watch_shards(self, count: int) -> None:
        """Shows shards that were not called yet, and neither failed nor fell silent."""
        shards = tuple(map(str, range(count)))
        show_from_the_start(self._silent, shards)
        show_from_the_start(self._shard_failures, shards, CAUSES)

    def shard_took(self, call: str, shard: int, seconds: float) -> None:
        """Takes how long a call to a shard took; ``call`` is its name."""
        child = self._shard_children.get((call, shard))
        if child is None:
            child = self._shard_children[call, shard] = self._shard_seconds.labels(call, str(shard))
        child.observe(seconds)

    def shard_failed(self, shard: int, cause: str) -> None:
        """Counts one failed call to a shard."""
        self._shard_failures.labels(str(shard), cause).inc()

    def shard_silent(self, shard: int, call: str, silent: bool) -> None:
        """Notes whether a shard is left alone; searches and other calls ask different ports of it."""
        if silent:
            self._silent_calls.add((shard, call))
        else:
            self._silent_calls.discard((shard, call))
        self._silent.labels(str(shard)).set(any(one == shard for one, _ in self._silent_calls))

    def embedder_took(self, call: str, seconds: float) -> None:
        """Takes how long a call to the embedder took; ``call`` is its name."""
        self._embedder_seconds.labels(call).observe(seconds)

    def embedder_failed(self, call: str, cause: str) -> None:
        """Counts one failed call to the embedder."""
        self._embedder_failures.labels(call, cause).inc()

    def embedder_serves(self, model_version: str) -> None:
        """Notes the model that the embedder serves."""
        if model_version != self._embedder_serves:
            self._embedder_serves = model_version
            self._embedder_model.clear()
            self._embedder_model.labels(model_version).set(1)

    def checked(self, dependency: str, up: bool) -> None:
        """Notes the outcome of a check; ``dependency`` is "embedder", or "shard" and its number."""
        self._up.labels(dependency).set(up)

    def found_generations(self, shard: int, *, missing: int, orphaned: int, failed: int) -> None:
        """Notes what is wrong with the generations of a shard."""
        for problem, count in (("missing", missing), ("orphaned", orphaned), ("failed", failed)):
            self._generations.labels(str(shard), problem).set(count)
