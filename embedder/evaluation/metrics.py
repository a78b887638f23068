"""Quality of rankings and classifications, as pure functions on ids: no model, no files.

MAR@k (macro-average recall, the measure of the eProduct challenge) is the mean over queries of
``|top k and right answers| / denominator``. The challenge does not publish the denominator, so both are
here: strict, ``|right answers|``, which cannot reach 1 where a query has more than k of them; and
capped, ``min(k, |right answers|)``.

Fixed for the cases that the definition leaves open: a query without right answers is left out and
counted; an id that a ranking repeats counts once, at its best place; fewer than k results are allowed
and more are cut; unknown ids are misses; the query's own id is taken out of its ranking and of its
right answers; equal scores are ordered by id, so that equal runs give equal figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lookalike.errors import InvalidInputError, Reason


@dataclass(frozen=True, slots=True)
class Query:
    """One query's outcome.

    Attributes:
        ranked: Ids of the results, best first.
        relevant: Ids of the right answers.
        own_id: Id under which the query itself may be in the index; None if it cannot be.
    """

    ranked: Sequence[str]
    relevant: Collection[str]
    own_id: str | None = None


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over queries.

    Attributes:
        value: The mean over the queries that count.
        queries: How many count.
        without_truth: How many were left out because nothing in the index is right for them.
    """

    value: float
    queries: int
    without_truth: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of right predictions.

    Attributes:
        micro: Over all rows.
        macro: Mean over the actual classes of each class's share.
        rows: Rows that have an actual class.
    """

    micro: float
    macro: float
    rows: int


def rank_by_score(ids: Sequence[str], scores: npt.NDArray[np.float32]) -> list[str]:
    """Order ids by falling score, equal scores by id.

    Args:
        ids: ``n`` ids.
        scores: ``(n,)`` floats, larger is better.
    """
    order = sorted(range(len(ids)), key=lambda i: (-float(scores[i]), ids[i]))
    return [ids[i] for i in order]


def mean_average_recall(queries: Sequence[Query], k: int, *, capped: bool = False) -> Mean:
    """Return MAR@k.

    Args:
        queries: The outcomes.
        k: Results that count, at least 1.
        capped: Divide by ``min(k, |right answers|)`` instead of ``|right answers|``.

    Raises:
        InvalidInputError: No query has a right answer.
    """

    def recall(top: list[str], relevant: set[str]) -> float:
        denominator = min(k, len(relevant)) if capped else len(relevant)
        return len(relevant.intersection(top)) / denominator

    return _mean(queries, k, recall)


def recall_at_1(queries: Sequence[Query]) -> Mean:
    """Return the share of queries whose first result is one of their right answers.

    Raises:
        InvalidInputError: No query has a right answer.
    """
    return _mean(queries, 1, lambda top, relevant: float(not relevant.isdisjoint(top)))


def accuracy(predicted: Sequence[Hashable], actual: Sequence[Hashable | None]) -> Accuracy | None:
    """Compare predicted with actual classes of one level.

    Args:
        predicted: A class per row, as its full category path, so that a class counts as right only with
            all the levels above it.
        actual: The true class per row; None where the row has no class at this level. A class that the
            model does not know counts, as a mistake.

    Returns:
        The accuracies; None if no row has a class.
    """
    by_class: dict[Hashable, list[bool]] = defaultdict(list)
    for guess, truth in zip(predicted, actual, strict=True):
        if truth is not None:
            by_class[truth].append(guess == truth)
    if not by_class:
        return None
    rows = sum(map(len, by_class.values()))
    return Accuracy(
        micro=sum(map(sum, by_class.values())) / rows,
        macro=sum(sum(right) / len(right) for right in by_class.values()) / len(by_class),
        rows=rows,
    )


def violation_rate(predicted: Sequence[npt.NDArray[np.int64]], parents: Sequence[Sequence[int]]) -> float:
    """Return the share of rows in which some level's class is not a child of the class one level up.

    Args:
        predicted: For each level from the root down ``(n,)`` class indices, n >= 1.
        parents: For each level the parent index of every class; the first level's is not read.
    """
    violated = np.zeros(len(predicted[0]), dtype=bool)
    for level in range(1, len(predicted)):
        violated |= np.asarray(parents[level])[predicted[level]] != predicted[level - 1]
    return float(violated.mean())


def _top(query: Query, k: int) -> list[str]:
    distinct = dict.fromkeys(result for result in query.ranked if result != query.own_id)
    return list(distinct)[:k]


def _mean(queries: Sequence[Query], k: int, score: Callable[[list[str], set[str]], float]) -> Mean:
    if k < 1:
        raise InvalidInputError("k must be at least 1", reason=Reason.FIELD_OUT_OF_RANGE, field="k")
    scores = []
    for query in queries:
        relevant = set(query.relevant) - {query.own_id}
        if relevant:
            scores.append(score(_top(query, k), relevant))
    if not scores:
        raise InvalidInputError(
            "no query has a right answer in the index, so there is nothing to measure",
            reason=Reason.CATALOG_INVALID,
        )
    return Mean(sum(scores) / len(scores), len(scores), len(queries) - len(scores))
