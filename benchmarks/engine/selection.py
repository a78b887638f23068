"""Which items match the filters of the filtered search: alike in every process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["PERCENTS", "matching"]

PERCENTS = (1, 10, 50)


def matching(count: int, percent: int) -> NDArray[np.bool_]:
    """`(count,)` bool: `percent` in a hundred items, chosen at random."""
    chosen: NDArray[np.bool_] = np.random.default_rng(percent).random(count) < percent / 100
    return chosen
