"""Measuring a running installation with a catalogue's queries."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lookalike.catalogue.catalog import Catalog
from lookalike.catalogue.questions import questions
from lookalike.cli.console import Update
from lookalike.cli.ranking import Ranking, ask

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
        update: Called with how many searches are done.
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
        **classification_figures(rankings, {item.categories for item in catalog.items}),
        "latency_ms": {"p50": p50, "p95": p95, "p99": p99},
        "throughput_qps": round(len(rankings) / seconds, 2),
        "codes_scanned_fraction": float(np.mean([ranking.scanned_fraction for ranking in rankings])),
        "model_version": rankings[0].model_version,
    }
    return Evaluation(figures, rankings)


def retrieval_figures(rankings: Sequence[Ranking]) -> dict[str, float]:
    """Returns MAR@1, MAR@10 strict and capped, and R@1."""
    from embedder.evaluation import summary
    from embedder.evaluation.measures import Query

    queries = [
        Query([hit.item_id for hit in ranking.hits], ranking.question.relevant) for ranking in rankings
    ]
    return summary.means(summary.retrieval_measures(queries))


def classification_figures(
    rankings: Sequence[Ranking], categories: Iterable[tuple[str, ...]] = ()
) -> dict[str, Any]:
    """Returns the accuracy of each level, contradictions between levels, and the severity of mistakes.

    None stands for what cannot be measured: a level that the model does not predict or the queries do
    not have. Mistakes are as severe as the tree that ``categories`` span says.
    """
    from embedder.evaluation import summary

    return summary.classification_measures(
        [ranking.predicted for ranking in rankings],
        [ranking.question.item.categories for ranking in rankings],
        categories,
    )
