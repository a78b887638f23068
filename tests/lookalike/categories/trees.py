"""Random category trees, ragged ones among them, and what models may say of them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

Path = tuple[str, ...]
PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple)


def _ends(paths: list[Path]) -> list[Path]:
    return [path for path in paths if not any(other[: len(path)] == path != other for other in paths)]


ENDS = st.lists(PATHS, min_size=1, max_size=12, unique=True).map(_ends)
"""Paths of which none goes on from another."""
SEEDS = st.integers(0, 2**32 - 1)


def levels_of(ends: list[Path], seed: int = 0) -> list[list[Path]]:
    """Each level's classes, in a random order."""
    depths = range(1, 1 + max(map(len, ends)))
    levels = [sorted({end[:depth] for end in ends if len(end) >= depth}) for depth in depths]
    random = np.random.default_rng(seed)
    return [[level[number] for number in random.permutation(len(level))] for level in levels]


def probabilities_of(levels: list[list[Path]], rows: int, seed: int) -> list[np.ndarray]:
    """For each level a distribution in each row, from nearly even to nearly sure."""
    random = np.random.default_rng(seed)
    sharpness = random.choice([0.1, 1.0, 10.0])
    return [random.dirichlet([1 / sharpness] * len(level), rows).astype(np.float32) for level in levels]
