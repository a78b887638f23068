"""Measuring a running installation with a catalogue's queries."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lookalike.catalogue.catalog import Catalog
from lookalike.catalogue.pairs import LabelledQuery
from lookalike.catalogue.questions import Question, questions
from lookalike.cli.console import Update
from lookalike.cli.product_ranking import ask_products
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
    queries under way at the same time. Where the collection has match probabilities, every query is also
    searched for by product, to compare these with what is right.

    Args:
        client: Of the running installation.
        catalog: Rows with split ``query`` or ``both`` are the queries; their own item is left out.
        collection: Holds the rows with split ``index`` or ``both``.
        k: Depth of the rankings; at least 10 for the figures to mean what they say.
        concurrency: Queries under way at the same time.
        update: Called with how many searches are done.
    """
    asked = questions(catalog)
    calibration = client.get_collection(collection).match_calibration_in_use
    rounds = 3 if calibration else 2

    def part(number: int) -> Update:
        return lambda done, total: update(number * total + done, rounds * total)

    start = time.perf_counter()
    rankings = ask(client, asked, collection, k=k, exact=False, concurrency=concurrency, update=part(0))
    seconds = time.perf_counter() - start
    exact = ask(client, asked, collection, k=k, exact=True, concurrency=concurrency, update=part(1))
    match = None
    if calibration:
        queries = list(map(_labelled, asked))
        answers = ask_products(client, queries, collection, concurrency=concurrency, update=part(2))
        match = answers.served_figures(calibration, calibration.absent_share)
    latencies = np.array([ranking.seconds for ranking in rankings]) * 1000
    p50, p95, p99 = (round(float(value), 3) for value in np.percentile(latencies, (50, 95, 99)))
    figures = {
        "queries": len(rankings),
        **retrieval_figures(rankings),
        **{f"exact_{name}": value for name, value in retrieval_figures(exact).items() if name != "mar@1"},
        **classification_figures(rankings, {item.categories for item in catalog.items}),
        "match": match,
        "latency_ms": {"p50": p50, "p95": p95, "p99": p99},
        "throughput_qps": round(len(rankings) / seconds, 2),
        "codes_scanned_fraction": float(np.mean([ranking.scanned_fraction for ranking in rankings])),
        "model_version": rankings[0].model_version,
    }
    return Evaluation(figures, rankings)


def _labelled(question: Question) -> LabelledQuery:
    """Returns what to ask for: an indexed photo by its item, which is left out of its own answer."""
    item = question.item
    if question.indexed:
        return LabelledQuery(item.product_id, item_id=item.item_id)
    return LabelledQuery(item.product_id, image_path=item.image_path)


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
