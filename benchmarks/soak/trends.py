"""Whether what a process holds grows.

Lines are fitted by least squares. Samples that follow each other are alike, so intervals rest on the number
of independent ones, n (1 - r) / (1 + r) with the autocorrelation r of the residuals (Santer et al., Journal
of Geophysical Research 105, 2000).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.soak.samples import Sample

__all__ = ["MEASURES", "RULE", "Slope", "Trend", "slope_of", "trends"]

Read = Callable[[Sample], float]
Grows = Callable[[Sequence[float], Sequence[float]], bool]

CONFIDENCE = 0.95
TOLERATED_SHARE = 0.02
FEWEST = 6
"""Points that a verdict needs."""
END_OF_LIFE = 3
"""Samples that stand for a life."""
RULE = (
    f"Memory grows where the {CONFIDENCE:.0%} interval of the slope lies above {TOLERATED_SHARE:.0%} of the"
    " first\nvalue an hour, and that of the second half of the time above 0: what fills up once is no growth."
    "\nDescriptors and threads grow where the interval lies above 0, and the median of the last third above"
    "\nall of the first third. A process that is killed has one point for each life but the first, which has"
    f"\nloaded the items: the median of {END_OF_LIFE} samples, at the age that the shortest life has reached."
)


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth an hour, with its interval."""

    per_hour: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Trend:
    """One measure of one process.

    Attributes:
        points: Samples, or lives of a process that is killed.
        slope: None: there are too few points.
        grows: None: the same.
    """

    process: str
    measure: str
    points: int
    first: float
    last: float
    slope: Slope | None
    grows: bool | None


def slope_of(hours: Sequence[float], values: Sequence[float]) -> Slope:
    """Fits a line to three values or more."""
    x, y = np.asarray(hours, float), np.asarray(values, float)
    x = x - x.mean()
    spread = float(x @ x)
    per_hour = float(x @ y) / spread
    residuals = y - y.mean() - per_hour * x
    squares = float(residuals @ residuals)
    if squares <= 1e-18 * max(float(y @ y), 1.0):
        return Slope(per_hour, per_hour, per_hour)
    alike = min(max(float(residuals[1:] @ residuals[:-1]) / squares, 0.0), 0.99)
    freedom = len(x) * (1 - alike) / (1 + alike) - 2
    if freedom <= 0:
        return Slope(per_hour, -math.inf, math.inf)
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(squares / freedom / spread)
    return Slope(per_hour, per_hour - margin, per_hour + margin)


def memory_grows(hours: Sequence[float], values: Sequence[float]) -> bool:
    """See ``RULE``."""
    half = len(hours) // 2
    lately = slope_of(hours[half:], values[half:])
    return slope_of(hours, values).low > TOLERATED_SHARE * values[0] and lately.low > 0


def count_grows(hours: Sequence[float], values: Sequence[float]) -> bool:
    """See ``RULE``."""
    third = len(values) // 3
    return slope_of(hours, values).low > 0 and bool(np.median(values[-third:]) > max(values[:third]))


MEASURES: dict[str, tuple[Read, Grows | None]] = {
    # Pages of mapped files are the kernel's to take back: shown, and not judged.
    "resident MB": (lambda one: one.resident_mb, None),
    "anonymous MB": (lambda one: one.anonymous_mb, memory_grows),
    "descriptors": (lambda one: one.descriptors, count_grows),
    "threads": (lambda one: one.threads, count_grows),
}


def series(samples: Sequence[Sample], read: Read) -> tuple[list[float], list[float]]:
    """Returns hours and values of one process: of its samples, or of its lives where it has several."""
    lives: dict[int, list[Sample]] = {}
    for one in samples:
        lives.setdefault(one.pid, []).append(one)
    if len(lives) <= 1:
        return [one.seconds / 3600 for one in samples], [read(one) for one in samples]
    later = list(lives.values())[1:]
    age = min(life[-1].seconds - life[0].seconds for life in later)
    ends = [[one for one in life if one.seconds <= life[0].seconds + age][-END_OF_LIFE:] for life in later]
    hours = [float(np.mean([one.seconds for one in end])) / 3600 for end in ends]
    return hours, [float(np.median([read(one) for one in end])) for end in ends]


def trends(samples: Sequence[Sample], warm_up_seconds: float) -> list[Trend]:
    """Returns the trend of every measure of every process after the warm-up."""
    found = []
    for process in dict.fromkeys(one.process for one in samples):
        own = [one for one in samples if one.process == process]
        # The lives of a killed process begin again, whenever that is.
        killed = len({one.pid for one in own}) > 1
        own = own if killed else [one for one in own if one.seconds >= warm_up_seconds]
        for measure, (read, grows) in MEASURES.items():
            found.append(_trend(process, measure, *series(own, read), grows))
    return found


def _trend(
    process: str,
    measure: str,
    hours: Sequence[float],
    values: Sequence[float],
    grows: Grows | None,
) -> Trend:
    if not values:
        return Trend(process, measure, 0, math.nan, math.nan, None, None)
    slope = slope_of(hours, values) if len(values) >= 3 else None
    verdict = grows(hours, values) if grows and len(values) >= FEWEST else None
    return Trend(process, measure, len(values), values[0], values[-1], slope, verdict)
