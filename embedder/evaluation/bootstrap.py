"""How sure a difference between two systems is, when both answered the same queries."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lookalike.errors import InvalidInputError, Reason

RESAMPLES = 10_000
_DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference of means with its bootstrap interval; chance does not explain one that excludes 0."""

    difference: float
    low: float
    high: float


def paired_bootstrap(
    system: npt.NDArray[np.float64],
    baseline: npt.NDArray[np.float64],
    *,
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Returns the percentile interval of ``mean(system) - mean(baseline)`` over resampled queries.

    Each resample draws as many queries as there are, with replacement, and takes both systems' values of
    the same queries: how hard a query is for both cancels out (Efron and Tibshirani, "An Introduction to
    the Bootstrap", 1993, chapter 13; for retrieval: Sakai, SIGIR 2006).

    Args:
        system: ``(Q,)`` float64, one value per query, such as :func:`embedder.evaluation.measures.recalls`
            gives; a query that is NaN in either system is left out.
        baseline: ``(Q,)`` float64, the other system's values of the same queries.
        groups: For each query what it shares with others, such as its product. Then whole groups are
            drawn: the queries of one product stand and fall together, and the interval gets wider.
        resamples: How often to draw, at least 1.
        confidence: Share of the resamples inside the interval, in 0..1.
        seed: The same seed gives the same interval.

    Raises:
        InvalidInputError: The two do not have one value for each query, or no query counts.
    """
    if system.shape != baseline.shape or system.ndim != 1 or (groups and len(groups) != len(system)):
        raise InvalidInputError(
            "both systems must have one value for each of the same queries", reason=Reason.DIMENSION_MISMATCH
        )
    differences = system - baseline
    counts = ~np.isnan(differences)
    if not counts.any():
        raise InvalidInputError(
            "no query has a right answer in the index, so there is nothing to compare",
            reason=Reason.CATALOG_INVALID,
        )
    kept = [group for group, kept in zip(groups, counts, strict=True) if kept] if groups else None
    sums, sizes = _units(differences[counts], kept)
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _DRAWS_AT_ONCE // len(sums))
    for start in range(0, resamples, step):
        drawn = random.integers(len(sums), size=(min(step, resamples - start), len(sums)))
        means[start : start + step] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    outside = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, (outside, 1.0 - outside))
    return Interval(float(differences[counts].mean()), float(low), float(high))


def _units(
    differences: npt.NDArray[np.float64], groups: Sequence[Hashable] | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns the sum and the number of queries of each unit that is drawn as a whole."""
    if groups is None:
        return differences, np.ones(len(differences))
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    unit = np.array([numbers[group] for group in groups])
    sums = np.zeros(len(numbers))
    np.add.at(sums, unit, differences)
    return sums, np.bincount(unit).astype(np.float64)
