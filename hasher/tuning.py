"""The least effort at which searches find what they should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hasher.results import NO_ID

__all__ = ["least_effort"]

EFFORT_STEPS: Final = 32
"""Efforts are tried in steps of a 32nd."""


def least_effort(find: Callable[[float | None], NDArray[np.uint64]], target: float, own: int) -> float:
    """Returns the least effort whose recall reaches ``target``, or 1, by bisection.

    Args:
        find: The ids ``(q, k)`` that searches with an effort return; None stands for exact searches.
        target: Mean share of the exact results that is to be found.
        own: How many results of each query are the query itself, found at any effort, and do not count.
    """
    truth = find(None)

    def recall(effort: float) -> float:
        pairs = zip(truth, find(effort), strict=True)
        hits = [(np.isin(right, found) & (right != NO_ID)).sum() - own for right, found in pairs]
        return float(np.sum(hits) / max(1, (truth != NO_ID).sum() - own * len(truth)))

    low, high = -1, EFFORT_STEPS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if recall(middle / EFFORT_STEPS) >= target else (middle, high)
    return high / EFFORT_STEPS
