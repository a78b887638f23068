"""The measures of an evaluation by the names that reports and ``lookalike evaluate`` give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.evaluation.bootstrap import paired_bootstrap
from embedder.evaluation.measures import (
    Query,
    accuracy,
    average_precisions_at_r,
    first_hits,
    lca_heights,
    mean_over_queries,
    recalls,
    violation_rate,
)
from lookalike.catalogue.catalog import LEVELS
from lookalike.categories.tree import CategoryPath

PerQuery = Mapping[str, npt.NDArray[np.float64]]
"""Measures of a ranking by name, each ``(Q,)`` with NaN for a query without right answers."""


def retrieval_measures(queries: Sequence[Query], k: int = 10) -> dict[str, npt.NDArray[np.float64]]:
    """Returns MAR@1, MAR@10 strict and capped, and R@1 of each query, and MAR@k where k is another.

    Args:
        queries: The outcomes, rankings at least ``max(10, k)`` deep.
        k: Another depth to measure MAR at.
    """
    measures = {
        "mar@1": recalls(queries, 1),
        "mar@10": recalls(queries, 10),
        "mar@10_capped": recalls(queries, 10, capped=True),
        "recall@1": first_hits(queries),
    }
    if k not in (1, 10):
        measures |= {f"mar@{k}": recalls(queries, k), f"mar@{k}_capped": recalls(queries, k, capped=True)}
    return measures


def full_ranking_measures(queries: Sequence[Query], k: int = 10) -> dict[str, npt.NDArray[np.float64]]:
    """Returns :func:`retrieval_measures` and AP@R; for rankings as deep as there are right answers."""
    return {**retrieval_measures(queries, k), "map@r": average_precisions_at_r(queries)}


def means(measures: PerQuery) -> dict[str, float]:
    """Averages each measure over the queries that have right answers.

    Raises:
        InvalidInputError: No query has any.
    """
    return {name: mean_over_queries(values) for name, values in measures.items()}


def differences(system: PerQuery, baseline: PerQuery, products: Sequence[str]) -> dict[str, Any]:
    """Compares two systems that answered the same queries.

    Args:
        system: Measures of the one.
        baseline: The same measures of the other.
        products: The queries' products.

    Returns:
        For each measure ``difference`` of the means, ``interval`` (95 %, paired bootstrap over queries)
        and ``interval_by_product`` (the same over products with all their queries).
    """
    found = {}
    for name, values in system.items():
        plain = paired_bootstrap(values, baseline[name])
        grouped = paired_bootstrap(values, baseline[name], groups=products)
        found[name] = {
            "difference": plain.difference,
            "interval": [plain.low, plain.high],
            "interval_by_product": [grouped.low, grouped.high],
        }
    return found


def by_level(category: CategoryPath, levels: Sequence[str]) -> dict[str, CategoryPath]:
    """Returns what a predicted category says at each level: itself at those below its end."""
    return {level: category[:depth] for depth, level in enumerate(levels, start=1)}


def classification_measures(
    predicted: Sequence[Mapping[str, CategoryPath]],
    actual: Sequence[CategoryPath],
    categories: Iterable[CategoryPath] = (),
) -> dict[str, Any]:
    """Returns the accuracy of each level, how often levels contradict each other, and how bad mistakes are.

    A category counts as right only with all those above it, and one that the model does not know is a
    mistake. None stands for what cannot be measured: a level that the model does not predict or the rows
    do not have.

    Args:
        predicted: For each row the predicted category path by level, of the same levels in every row; one
            that ends above a level is repeated there.
        actual: For each row its true category path, as deep as is known.
        categories: The catalogue's tree, for the height of mistakes.

    Returns:
        ``accuracy`` by level with ``micro`` and ``macro``; ``violation_rate``; ``lca_height``, the mean
        over the mistakes at the deepest known level; ``mistakes``, their share of the rows.
    """
    levels = [level for level in LEVELS if predicted and all(level in row for row in predicted)]
    accuracies: dict[str, dict[str, float] | None] = dict.fromkeys(LEVELS)
    for depth, level in enumerate(levels, start=1):
        measured = accuracy(
            [row[level] for row in predicted],
            [path[:depth] if len(path) >= depth else None for path in actual],
        )
        if measured:
            accuracies[level] = {"micro": measured.micro, "macro": measured.macro}
    return {
        "accuracy": accuracies,
        "violation_rate": violation_rate([[row[level] for level in levels] for row in predicted])
        if levels
        else None,
        **_severity(predicted, actual, levels, categories),
    }


def _severity(
    predicted: Sequence[Mapping[str, CategoryPath]],
    actual: Sequence[CategoryPath],
    levels: Sequence[str],
    categories: Iterable[CategoryPath],
) -> dict[str, float | None]:
    labelled = [(row, path) for row, path in zip(predicted, actual, strict=True) if path]
    if not levels or not labelled:
        return {"lca_height": None, "mistakes": None}
    guesses = [row[levels[min(len(path), len(levels)) - 1]] for row, path in labelled]
    heights = lca_heights(guesses, [path for _, path in labelled], categories)
    mistakes = heights[heights > 0]
    return {
        "lca_height": float(mistakes.mean()) if len(mistakes) else None,
        "mistakes": len(mistakes) / len(heights),
    }
