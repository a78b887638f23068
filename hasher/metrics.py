"""The hasher's own metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from lookalike.runtime.metrics import Metrics

# A probe of a small shard takes microseconds.
_STAGE_BUCKETS = (
    0.00001, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
)  # fmt: skip


class HasherMetrics:
    """Where the time goes, how much is looked at, and how the shard is.

    Args:
        metrics: The process's registry.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._stage_seconds = metrics.histogram(
            "lookalike_hasher_stage_seconds",
            "Seconds of a search, answered or not, in a stage: position (waiting for min_positions), queue"
            " (waiting for a thread), convert, hash, probe, scan, rerank, fetch; or of one commit.",
            ("stage",),
            _STAGE_BUCKETS,
        )
        self._codes_scanned = metrics.counter(
            "lookalike_hasher_codes_scanned_total", "Codes compared with query codes."
        )

    def watch(self, name: str, doc: str, value: Callable[[], float]) -> None:
        """Shows what ``value`` returns whenever the metrics are read, as ``lookalike_hasher_NAME``."""
        self._metrics.gauge(f"lookalike_hasher_{name}", doc).set_function(value)

    def observe_search(self, seconds: Mapping[str, float], codes_scanned: int) -> None:
        """Takes the figures of one search, by stage."""
        for stage, value in seconds.items():
            self.observe_stage(stage, value)
        self._codes_scanned.inc(codes_scanned)

    def observe_stage(self, stage: str, seconds: float) -> None:
        """Takes the time that one stage took."""
        self._stage_seconds.labels(stage).observe(seconds)

    def observe_commit(self, seconds: float) -> None:
        """Takes the time that one commit took."""
        self.observe_stage("commit", seconds)

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        """Takes the time that a block takes, also where it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.observe_stage(stage, time.perf_counter() - start)
