"""The hasher's own metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lookalike.runtime.metrics import Metrics

# A probe of a small shard takes microseconds.
_STAGE_BUCKETS = (
    0.00001, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
)  # fmt: skip


class HasherMetrics:
    """Where the time goes, and how much is looked at."""

    def __init__(self, metrics: Metrics) -> None:
        self._stage_seconds = metrics.histogram(
            "lookalike_hasher_stage_seconds",
            "Seconds of one call in a stage: hash, probe, scan, rerank, fetch; or of one commit.",
            ("stage",),
            _STAGE_BUCKETS,
        )
        self._items = metrics.gauge("lookalike_hasher_items", "Rows of all generations of the shard.")
        self._codes_scanned = metrics.counter(
            "lookalike_hasher_codes_scanned_total", "Codes compared with query codes."
        )

    def watch_items(self, count: Callable[[], int]) -> None:
        """Takes the number of rows from ``count`` whenever the metrics are read."""
        self._items.set_function(count)

    def searched(self, seconds: Mapping[str, float], codes_scanned: int) -> None:
        """Counts one search call."""
        for stage, value in seconds.items():
            self._stage_seconds.labels(stage).observe(value)
        self._codes_scanned.inc(codes_scanned)

    def committed(self, seconds: float) -> None:
        """Counts one commit."""
        self._stage_seconds.labels("commit").observe(seconds)
