"""Quality of rankings and classifications, as pure functions on ids: no model, no files.

MAR@k (macro-average recall, the measure of the eProduct challenge) is the mean over queries of
``|top k and right answers| / denominator``. The challenge does not publish the denominator, so both are
here: strict, ``|right answers|``, which cannot reach 1 where a query has more than k of them; and
capped, ``min(k, |right answers|)``.

Fixed for the cases that the definition leaves open: a query without right answers is left out and
counted; an id that a ranking repeats counts once, at its best place; fewer than k results are allowed
and more are cut; unknown ids are misses; the query's own id is removed from its ranking and of its
right answers.

Every measure of a ranking comes per query, so that two systems can be compared query by query
(:func:`embedder.evaluation.bootstrap.paired_bootstrap`), and as its mean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lookalike.categories.tree import CategoryPath
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


def recalls(queries: Sequence[Query], k: int, *, capped: bool = False) -> npt.NDArray[np.float64]:
    """Returns each query's recall@k.

    Args:
        queries: The outcomes.
        k: Results that count, at least 1.
        capped: Divide by ``min(k, |right answers|)`` instead of ``|right answers|``.

    Returns:
        ``(Q,)`` in 0..1; NaN for a query without right answers.

    Raises:
        InvalidInputError: ``k`` is below 1.
    """
    if k < 1:
        raise InvalidInputError("k must be at least 1", reason=Reason.FIELD_OUT_OF_RANGE, field="k")

    def recall(results: list[str], relevant: set[str]) -> float:
        denominator = min(k, len(relevant)) if capped else len(relevant)
        return len(relevant.intersection(results[:k])) / denominator

    return _per_query(queries, recall)


def first_hits(queries: Sequence[Query]) -> npt.NDArray[np.float64]:
    """Returns 1 for each query whose first result is a right answer, else 0; NaN without right answers."""
    return _per_query(queries, lambda results, relevant: float(not relevant.isdisjoint(results[:1])))


def average_precisions_at_r(queries: Sequence[Query]) -> npt.NDArray[np.float64]:
    """Returns each query's AP@R: the mean over the first R places of the precision up to a right answer.

    With R right answers, ``AP@R = 1/R * sum over i <= R of (precision@i if result i is right else 0)``
    (Musgrave, Belongie and Lim, "A Metric Learning Reality Check", ECCV 2020). Unlike R@1 it
    judges the order of the first R places; unlike average precision it ignores what follows them.

    Args:
        queries: The outcomes; a ranking shorter than R has misses in its missing places.

    Returns:
        ``(Q,)`` in 0..1; NaN for a query without right answers.
    """

    def average_precision(results: list[str], relevant: set[str]) -> float:
        right = 0
        total = 0.0
        for place, result in enumerate(results[: len(relevant)], start=1):
            if result in relevant:
                right += 1
                total += right / place
        return total / len(relevant)

    return _per_query(queries, average_precision)


def mean_over_queries(values: npt.NDArray[np.float64]) -> float:
    """Averages a measure over the queries that have right answers: of :func:`recalls`, this is MAR@k.

    Args:
        values: ``(Q,)``; NaN for a query without right answers.

    Raises:
        InvalidInputError: No query has a right answer.
    """
    counted = values[~np.isnan(values)]
    if not len(counted):
        raise InvalidInputError(
            "no query has a right answer in the index, so there is nothing to measure",
            reason=Reason.CATALOG_INVALID,
        )
    return float(counted.mean())


def accuracy(predicted: Sequence[Hashable], actual: Sequence[Hashable | None]) -> Accuracy | None:
    """Compares predicted with actual classes of one level.

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


def violation_rate(predicted: Sequence[Sequence[CategoryPath]]) -> float:
    """Returns the share of rows in which some level's class does not lie below the class one level up.

    Args:
        predicted: For each row, one or more, its category path of every level from the root down; one that
            ends above a level is repeated there.
    """
    return float(
        np.mean([any(here[: len(above)] != above for above, here in pairwise(row)) for row in predicted])
    )


def lca_heights(
    predicted: Sequence[CategoryPath], actual: Sequence[CategoryPath], categories: Iterable[CategoryPath]
) -> npt.NDArray[np.int64]:
    """Returns for each row how far up the tree the lowest common ancestor of prediction and truth lies.

    The height of a node is the length of the longest way from it down to a leaf (Deng et al., ECCV 2010);
    its mean over the mistakes is their severity (Bertinetto et al., "Making Better Mistakes", CVPR 2020).

    In a ragged tree the truth may end above the leaves. What is predicted below it is neither right nor
    wrong: a prediction that agrees down to the truth's own depth is not a mistake and has height 0. A mistake
    has a height of at least 1; a prediction that stops above the truth is one.

    Args:
        predicted: For each row its category path; deeper than the truth's where the model goes further.
        actual: For each row its true category path, one or more names; it may be unknown to the model.
        categories: The tree, as paths (those above are implied); the rows' own paths are added to it.

    Returns:
        ``(n,)`` heights.
    """
    height: dict[CategoryPath, int] = {}
    for path in {*categories, *predicted, *actual}:
        for depth in range(len(path) + 1):
            node = path[:depth]
            height[node] = max(height.get(node, 0), len(path) - depth)
    heights = []
    for guess, truth in zip(predicted, actual, strict=True):
        shared = 0
        while shared < min(len(guess), len(truth)) and guess[shared] == truth[shared]:
            shared += 1
        heights.append(0 if shared == len(truth) else height[truth[:shared]])
    return np.array(heights, dtype=np.int64)


def _per_query(
    queries: Sequence[Query], score: Callable[[list[str], set[str]], float]
) -> npt.NDArray[np.float64]:
    """Scores each query's distinct results other than itself against its right answers."""
    values = np.full(len(queries), np.nan)
    for number, query in enumerate(queries):
        relevant = set(query.relevant) - {query.own_id}
        if relevant:
            results = dict.fromkeys(result for result in query.ranked if result != query.own_id)
            values[number] = score(list(results), relevant)
    return values
