"""Measuring a running installation with a catalogue's queries."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.catalog import Catalog
from lookalike.cli.console import Update
from lookalike.cli.ranking import Ranking, ask, questions

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


def right_answers(rankings: Sequence[Ranking], k: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Returns which answers are right, (queries, k), and how many right ones there are, (queries,)."""
    right = np.zeros((len(rankings), k), dtype=bool)
    for row, ranking in enumerate(rankings):
        for rank, hit in enumerate(ranking.hits[:k]):
            right[row, rank] = hit.product_id == ranking.query.product_id
    return right, np.array([ranking.truth_count for ranking in rankings], dtype=np.int64)
