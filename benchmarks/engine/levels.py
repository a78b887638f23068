"""From measured points to rates at recall levels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log

__all__ = ["Curves", "Point", "Rate", "best_rate_at", "front", "rate_at", "worth_repeating"]


@dataclass(frozen=True, slots=True)
class Point:
    """One setting: recall in 0..1, queries per second, and a name for whoever reads the raw figures."""

    recall: float
    rate: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """The rate at a recall level.

    Attributes:
        value: Queries per second, or None where no two points bracket the level.
        between: The names of the bracketing points, or why there is no value.
        at_least: Where all points are above the level, the rate of the fastest: it holds at the level too.
    """

    value: float | None
    between: tuple[str, ...]
    at_least: float | None = None


Curves = Sequence[Sequence[Point]]
"""The points of each index of an engine."""


def front(points: Iterable[Point]) -> list[Point]:
    """The Pareto points by ascending recall: no other point is better in one and as good in the other."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.recall, -p.rate)):
        if not best or point.rate > best[-1].rate:
            best.append(point)
    return best[::-1]


def rate_at(points: Iterable[Point], level: float) -> Rate:
    """The rate at recall `level`: log rate is linear in recall between the two Pareto points around it.

    Never extrapolates: where all points lie on one side of the level there is no value.
    """
    curve = front(points)
    below = [point for point in curve if point.recall <= level]
    above = [point for point in curve if point.recall >= level]
    if not above:
        return Rate(None, ("not reached",))
    if not below:
        return Rate(None, ("all settings are above",), above[0].rate)
    low, high = below[-1], above[0]
    if low.recall == high.recall:
        return Rate(high.rate, (high.name,))
    share = (level - low.recall) / (high.recall - low.recall)
    return Rate(exp(log(low.rate) * (1 - share) + log(high.rate) * share), (low.name, high.name))


def best_rate_at(curves: Curves, level: float) -> Rate:
    """The rate at recall `level` of an engine: of its best index there, or between two of its indexes.

    An index that is slower than another between two settings of that one takes nothing from it.
    """
    together = rate_at([point for curve in curves for point in curve], level)
    alone = [rate_at(curve, level) for curve in curves]
    return max([together, *alone], key=lambda rate: rate.value or 0.0)


def worth_repeating(points: Sequence[Point], slack: float) -> list[bool]:
    """Which points could lie on the Pareto front if rates were off by the factor `slack`."""
    return [
        not any(other.recall >= point.recall and other.rate > point.rate * slack for other in points)
        for point in points
    ]
