"""What is learned from each answered search, at almost no cost to it."""

from __future__ import annotations

from gateway.asked import Asked
from gateway.quality.drift import Drift
from gateway.quality.recall_probe import RecallProbe
from lookalike.runtime.metrics import Metrics

_SCORE_BUCKETS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0)


class Quality:
    """Shows each answer to those who watch quality.

    Args:
        drift: Compares queries with the catalogue.
        probe: Compares answers with exact ones.
        metrics: The process's registry.
    """

    def __init__(self, drift: Drift, probe: RecallProbe, metrics: Metrics) -> None:
        self._drift = drift
        self._probe = probe
        self._top_score = metrics.histogram(
            "lookalike_gateway_top_score_ratio",
            "Cosine of the best hit of each search that found something.",
            buckets=_SCORE_BUCKETS,
        )

    def answered(self, asked: Asked, best_score: float | None) -> None:
        """Takes a search and the score of its best hit; None: it found nothing."""
        if best_score is not None:
            self._top_score.observe(best_score)
        self._drift.take(asked)
        self._probe.offer(asked)
