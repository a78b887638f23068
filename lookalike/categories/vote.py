"""What the nearest labelled items say about a photo's category, alone or together with a model.

Neighbours know categories that a model was never trained on. The model says nothing about those, so that
the neighbours alone decide whether the category is one of them; among the categories that the model knows,
both have a say.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from lookalike.categories.belief import Belief
from lookalike.categories.tree import CategoryPath, Floats, PathTree

NEIGHBOURS = 10
"""Labelled items that vote."""
SHARE = 0.5
"""Weight of the vote against the model among the categories that the model knows."""
_WIDTH = 0.07
"""Difference in cosine by which a vote falls to 1/e."""


def votes_of(neighbours: Iterable[tuple[CategoryPath, float]]) -> dict[CategoryPath, float]:
    """Returns the share of the vote of each path.

    Args:
        neighbours: Category and cosine similarity of items, the nearest first; those without a category
            do not vote, and of the others the first :data:`NEIGHBOURS`.

    Returns:
        ``exp((s - 1) / 0.07)``, summed over the items of a path; together 1, or nothing.
    """
    labelled = [(path, score) for path, score in neighbours if path][:NEIGHBOURS]
    votes: dict[CategoryPath, float] = defaultdict(float)
    # Weights in proportion to the nearest one's: those of far neighbours would all be 0.
    nearest = max((score for _, score in labelled), default=0.0)
    for path, score in labelled:
        votes[path] += math.exp((score - nearest) / _WIDTH)
    total = sum(votes.values())
    return {path: weight / total for path, weight in votes.items()}


def with_votes(belief: Belief | None, votes: Mapping[CategoryPath, float], share: float = SHARE) -> Belief:
    """Returns a model's belief with the vote of the neighbours.

    A vote for a class above the ends says nothing about the levels below, and counts for the ends there in
    proportion to what is known of them.

    Args:
        belief: Of a model alone; None for a model without categories.
        votes: See :func:`votes_of`; without any the belief is what it was.
        share: Weight of the vote among the categories that the model knows, 0..1.
    """
    if belief is None:
        return Belief(PathTree(()), np.zeros(0), _spread(votes))
    if not votes:
        return belief
    tree = belief.tree
    known = np.zeros(len(tree.ends))
    finer: dict[int, dict[CategoryPath, float]] = defaultdict(dict)
    new: dict[CategoryPath, float] = {}
    for path, weight in votes.items():
        if tree.class_number(path) is not None:
            start, stop = tree.span(path)
            known[start:stop] += weight * _shares(belief.posterior[start:stop])
        elif (end := _end_above(tree, path)) is not None:
            known[end] += weight
            finer[end][path] = weight
        else:
            new[path] = weight
    # Votes add up to 1 only but for rounding.
    of_known = max(0.0, 1 - sum(new.values()))
    posterior = (1 - share) * of_known * belief.posterior + share * known
    others = _spread(new)
    for end, paths in finer.items():
        # The model ends where the catalogue goes on, so that only the neighbours know how.
        weight = sum(paths.values())
        others |= {path: posterior[end] * one / weight for path, one in _spread(paths).items()}
        posterior[end] = 0.0
    return Belief(tree, posterior, others)


def _shares(posterior: npt.NDArray[np.floating]) -> Floats:
    """Returns numbers in proportion, or equal ones where all are 0, that add up to 1."""
    total = posterior.sum()
    return posterior / total if total > 0 else np.full(len(posterior), 1 / len(posterior))


def _end_above(tree: PathTree, path: CategoryPath) -> int | None:
    """Returns the end of the tree that a path goes on from; None if it leaves the tree elsewhere."""
    ends = (tree.end_number(path[:length]) for length in range(1, len(path)))
    return next((end for end in ends if end is not None), None)


def _spread(weights: Mapping[CategoryPath, float]) -> dict[CategoryPath, float]:
    """Moves the weight of each path with others below it down to them, in proportion to theirs."""
    spread = dict(weights)
    for path in sorted(weights, key=len):
        below = [other for other in weights if len(other) > len(path) and other[: len(path)] == path]
        total = sum(weights[other] for other in below)
        if total > 0:
            weight = spread.pop(path)
            for other in below:
                spread[other] += weight * weights[other] / total
    return spread
