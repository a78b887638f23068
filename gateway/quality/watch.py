"""What is learned from each answered search, at almost no cost to it."""

from __future__ import annotations

from prometheus_client import Histogram

from gateway.asked import Asked
from gateway.quality.bounds import MOST_COLLECTIONS, Labels
from gateway.quality.drift import Drift
from gateway.quality.recall_probe import RecallProbe
from lookalike.runtime.metrics import Metrics

_SCORE_BUCKETS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0)
_MATCH_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


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
        self._top_match = metrics.histogram(
            "lookalike_gateway_top_match_ratio",
            "Probability that the best hit is right, of each search without a filter that found something, by"
            " collection: the first eight that have a calibration, and other.",
            ("collection",),
            _MATCH_BUCKETS,
        )
        self._collections = Labels(MOST_COLLECTIONS)
        self._top_match_children: dict[str, Histogram] = {}

    def answered(self, asked: Asked, best_score: float | None, best_match: float | None) -> None:
        """Takes a search with the score and the probability of its best hit; None: there is none."""
        if best_score is not None:
            self._top_score.observe(best_score)
        if best_match is not None and asked.options.filter is None:
            self._matched(asked.collection.name, best_match)
        self._drift.take(asked)
        self._probe.offer(asked)

    def _matched(self, collection: str, best_match: float) -> None:
        label = self._collections.of(collection)
        child = self._top_match_children.get(label)
        if child is None:
            child = self._top_match_children[label] = self._top_match.labels(label)
        child.observe(best_match)
