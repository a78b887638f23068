"""Measuring a running installation with a catalogue's queries."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lookalike.catalog import LEVELS, Catalog
from lookalike.cli.console import Update
from lookalike.cli.ranking import Ranking, ask
from lookalike.questions import questions

if TYPE_CHECKING:
    from lookalike.client import Client


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures, as ``lookalike evaluate`` writes them, and the rankings behind them."""

    figures: dict[str, Any]
    rankings: list[Ranking]


def evaluate_catalog(
    client: Client, catalog: Catalog, collection: str, *, k: int, concurrency: int, update: Update
) -> Evaluation:
    """Searches for every query photo, through codes and by brute force, and measures the answers.

    Latency and throughput are those of the search through codes, seen by the client with ``concurrency``
    queries under way at the same time.

    Args:
        client: Of the running installation.
        catalog: Rows with split ``query`` or ``both`` are the queries; their own item is left out.
        collection: Holds the rows with split ``index`` or ``both``.
        k: Depth of the rankings; at least 10 for the figures to mean what they say.
        concurrency: Queries under way at the same time.
        update: Told how many searches are done.
    """
    asked = questions(catalog)

    def first_half(done: int, total: int) -> None:
        update(done, 2 * total)

    def second_half(done: int, total: int) -> None:
        update(total + done, 2 * total)

    start = time.perf_counter()
    rankings = ask(client, asked, collection, k=k, exact=False, concurrency=concurrency, update=first_half)
    seconds = time.perf_counter() - start
    exact = ask(client, asked, collection, k=k, exact=True, concurrency=concurrency, update=second_half)
    latencies = np.array([ranking.seconds for ranking in rankings]) * 1000
    p50, p95, p99 = (round(float(value), 3) for value in np.percentile(latencies, (50, 95, 99)))
    figures = {
        "queries": len(rankings),
        **retrieval_figures(rankings),
        **{f"exact_{name}": value for name, value in retrieval_figures(exact).items() if name != "mar@1"},
        **classification_figures(rankings),
        "latency_ms": {"p50": p50, "p95": p95, "p99": p99},
        "throughput_qps": round(len(rankings) / seconds, 2),
        "codes_scanned_fraction": float(np.mean([ranking.scanned_fraction for ranking in rankings])),
        "model_version": rankings[0].model_version,
    }
    return Evaluation(figures, rankings)


def retrieval_figures(rankings: Sequence[Ranking]) -> dict[str, float]:
    """Returns MAR@1, MAR@10 strict and capped, and R@1."""
    from embedder.evaluation.metrics import Query, mean_average_recall, recall_at_1

    queries = [
        Query([hit.item_id for hit in ranking.hits], ranking.question.relevant) for ranking in rankings
    ]
    return {
        "mar@1": mean_average_recall(queries, 1).value,
        "mar@10": mean_average_recall(queries, 10).value,
        "mar@10_capped": mean_average_recall(queries, 10, capped=True).value,
        "recall@1": recall_at_1(queries).value,
    }


def classification_figures(rankings: Sequence[Ranking]) -> dict[str, Any]:
    """Returns the accuracy of each level, and how often a level's category lies outside the one above.

    None stands for what cannot be measured: a level that the model does not predict or the queries do
    not have.
    """
    from embedder.evaluation.metrics import accuracy

    predicted_levels = [level for level in LEVELS if all(level in ranking.predicted for ranking in rankings)]
    accuracies: dict[str, dict[str, float] | None] = dict.fromkeys(LEVELS)
    for level in predicted_levels:
        depth = LEVELS.index(level) + 1
        categories = [ranking.question.item.categories for ranking in rankings]
        measured = accuracy(
            [ranking.predicted[level] for ranking in rankings],
            [path[:depth] if len(path) >= depth else None for path in categories],
        )
        if measured:
            accuracies[level] = {"micro": measured.micro, "macro": measured.macro}
    predicted = [[ranking.predicted[level] for level in predicted_levels] for ranking in rankings]
    return {"accuracy": accuracies, "violation_rate": _violation_rate(predicted)}


def _violation_rate(predicted: Sequence[Sequence[tuple[str, ...]]]) -> float | None:
    """The share of queries, each given as its path of every level, with a path outside the one above."""
    from embedder.evaluation.metrics import violation_rate

    if not predicted[0]:
        return None
    by_level = list(zip(*predicted, strict=True))
    classes = [sorted(set(paths)) for paths in by_level]
    index = [{path: number for number, path in enumerate(known)} for known in classes]
    parents = [[-1] * len(classes[0])]
    for above, known in zip(index, classes[1:], strict=False):
        parents.append([above.get(path[:-1], -1) for path in known])
    numbers = [
        np.array([known[path] for path in paths], dtype=np.int64)
        for known, paths in zip(index, by_level, strict=True)
    ]
    return violation_rate(numbers, parents)
