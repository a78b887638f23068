"""Growth: what counts as such, of processes that live on and of ones that are killed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from benchmarks.soak.samples import Sample
from benchmarks.soak.trends import Trend, count_grows, memory_grows, series, slope_of, trends

HOURS = [number / 360 for number in range(180)]
"""Half an hour, looked at every ten seconds."""
NOISE = np.random.default_rng(3).standard_normal(len(HOURS))


def sample(seconds: float, pid: int = 1, process: str = "it", memory: float = 50.0, **more: int) -> Sample:
    counts = {"descriptors": 20, "threads": 9} | more
    return Sample(seconds, process, pid, 2 * memory, memory, **counts)


def memory_of(one: Sample) -> float:
    return one.anonymous_mb


def by_measure(found: Sequence[Trend], process: str = "it") -> dict[str, Trend]:
    return {one.measure: one for one in found if one.process == process}


def test_the_slope_of_a_line_is_exact() -> None:
    slope = slope_of([0, 1, 2, 3], [5, 7, 9, 11])
    assert (slope.per_hour, slope.low, slope.high) == pytest.approx((2, 2, 2))


def test_the_interval_holds_the_slope_as_often_as_it_says() -> None:
    random = np.random.default_rng(11)
    found = [slope_of(HOURS, 3 * np.array(HOURS) + random.standard_normal(len(HOURS))) for _ in range(400)]
    assert 0.91 < np.mean([one.low <= 3 <= one.high for one in found]) < 0.99


def test_samples_that_are_like_those_before_widen_the_interval() -> None:
    alike = np.convolve(NOISE, np.ones(8) / math.sqrt(8), "same")
    wide, narrow = slope_of(HOURS, alike), slope_of(HOURS, NOISE)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_slow_wave_says_nothing_of_the_slope() -> None:
    slope = slope_of(range(40), [math.sin(number * math.pi / 13) for number in range(40)])
    assert (slope.low, slope.high) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("course", "grows"),
    [
        (lambda hour: 50.0, False),
        (lambda hour: 50.0 + 20 * hour, True),
        (lambda hour: 500.0 + 8 * hour, False),  # 1.6 % an hour
        (lambda hour: 50.0 - 20 * hour, False),
        (lambda hour: 50.0 + 20 * min(hour, 0.2), False),  # A cache that is full after a while.
    ],
)
def test_memory_grows_where_it_goes_on_by_more_than_is_tolerated(
    course: Callable[[float], float], grows: bool
) -> None:
    assert (
        memory_grows(HOURS, [course(hour) + noise for hour, noise in zip(HOURS, NOISE, strict=True)]) == grows
    )


def test_counts_grow_where_they_rise_above_all_that_was() -> None:
    rising = [20 + number // 30 for number in range(180)]
    assert count_grows(HOURS, rising)
    assert not count_grows(HOURS, [20 + number % 3 for number in range(180)])
    # Higher for a while.
    assert not count_grows(HOURS, [20] * 60 + [30] * 60 + [21] * 60)
    # Rising on the whole, and not above what it once was.
    assert not count_grows(HOURS, [30, *rising[1:]])


def test_a_process_that_lives_on_is_judged_by_its_samples_after_the_warm_up() -> None:
    filling = [sample(10.0 * number, memory=min(10.0 * number, 300.0)) for number in range(180)]
    found = by_measure(trends(filling, 300.0))["anonymous MB"]
    assert (found.points, found.first, found.last, found.grows) == (150, 300.0, 300.0, False)


def test_what_is_mapped_is_shown_and_not_judged() -> None:
    growing = [sample(10.0 * number, memory=50.0 + number) for number in range(180)]
    found = by_measure(trends(growing, 0.0))
    assert found["anonymous MB"].grows
    assert found["resident MB"].grows is None
    assert found["resident MB"].slope
    assert found["threads"].grows is False


def test_each_process_and_measure_is_judged_for_itself() -> None:
    both = [
        one
        for number in range(60)
        for one in (
            sample(10.0 * number, process="a"),
            sample(10.0 * number, process="b", threads=9 + number),
        )
    ]
    found = trends(both, 0.0)
    assert [one.measure for one in found if one.grows] == ["threads"]
    assert by_measure(found, "b")["threads"].grows


def lives(memory: Callable[[int, float], float], lengths: Sequence[int]) -> list[Sample]:
    samples, seconds = [], 0.0
    for life, length in enumerate(lengths):
        for number in range(length):
            samples.append(sample(seconds, pid=100 + life, memory=memory(life, 10.0 * number)))
            seconds += 10.0
    return samples


def test_a_killed_process_has_a_point_for_each_life_but_the_first() -> None:
    samples = lives(lambda life, age: 40.0 + life + age / 10, [30, 20, 12, 25])
    hours, values = series(samples, memory_of)
    # The shortest of the later lives is 110 s old: the median of the samples at 90, 100 and 110 s.
    assert values == [40.0 + life + 10.0 for life in (1, 2, 3)]
    assert hours == pytest.approx([(300 + 100) / 3600, (500 + 100) / 3600, (620 + 100) / 3600])


def test_growth_from_life_to_life_is_found_and_growth_within_lives_is_not_taken_for_it() -> None:
    lengths = [18] * 9
    leaking = by_measure(trends(lives(lambda life, age: 40.0 + 2 * life, lengths), 1e9))
    assert leaking["anonymous MB"].points == 8
    assert leaking["anonymous MB"].grows
    filling = by_measure(trends(lives(lambda life, age: 40.0 + age, lengths), 0.0))
    assert filling["anonymous MB"].grows is False


def test_few_lives_and_no_samples_have_no_verdict() -> None:
    few = by_measure(trends(lives(lambda life, age: 40.0 + 20 * life, [18] * 6), 0.0))["anonymous MB"]
    assert (few.points, few.grows) == (5, None)
    none = by_measure(trends([sample(0.0), sample(10.0)], 60.0))["anonymous MB"]
    assert (none.points, none.slope, none.grows) == (0, None, None)
