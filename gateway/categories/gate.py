"""Looking where the category of a query probably is: in these categories alone, or there first."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gateway.categories.hits import neighbours_in
from gateway.categories.options import Gate
from gateway.native_fanout import Hits
from lookalike import limits
from lookalike.categories.belief import Belief, Prediction
from lookalike.categories.tree import CategoryPath
from lookalike.v1 import types_pb2

MOST_CATEGORIES = 64
"""Categories that a search is narrowed to; where more would be needed, hardly anything is known."""
_CANDIDATES = 100
"""Hits that are put into another order, at least."""
_WEIGHT = 0.1
"""What a category that is certain adds to a hit's cosine similarity; chosen on validation queries."""


def within(belief: Belief, gate: Gate) -> Sequence[Prediction]:
    """Returns the categories that a search is narrowed to; none where it would need too many."""
    return belief.cover(gate.depth, gate.mass, MOST_CATEGORIES)


def preferred(belief: Belief, gate: Gate) -> Sequence[Prediction]:
    """Returns the categories whose items are moved forward, as far as that is worth saying."""
    return belief.cover(gate.depth, gate.mass, sys.maxsize)[:MOST_CATEGORIES]


def narrowed(filter: types_pb2.Filter | None, categories: Sequence[Prediction]) -> types_pb2.Filter:
    """Returns a caller's filter that lets items of these categories alone pass."""
    narrow = types_pb2.Filter()
    if filter is not None:
        narrow.CopyFrom(filter)
    paths = (types_pb2.CategoryPath(names=one.path) for one in categories)
    narrow.all.add(in_categories=types_pb2.CategoryPaths(paths=paths))
    return narrow


def candidates(k: int) -> int:
    """Returns how many hits are asked for where ``k`` are chosen from them in another order."""
    return min(max(k, _CANDIDATES), limits.MAX_K)


def boosted(hits: Hits, belief: Belief, depth: int) -> list[int]:
    """Returns the numbers of the hits by score and the probability of their categories, the best first.

    Args:
        hits: Best first.
        belief: About the query's category.
        depth: Level of the categories that count; 0 is the topmost.
    """
    gains: dict[CategoryPath, float] = {}
    scores = []
    for path, score in neighbours_in(hits, hits.count):
        category = path[: depth + 1]
        if category not in gains:
            gains[category] = _WEIGHT * belief.probability(category)
        scores.append(score + gains[category])
    return sorted(range(len(scores)), key=lambda number: -scores[number])
