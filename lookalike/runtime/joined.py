"""Metrics that are counted partly outside of Python, where a call never reaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Protocol

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

Counted = tuple[str, dict[str, str], float]
"""A sample: what its name adds to the metric's (``_total``, ``_bucket``, …), its labels and its value."""
Samples = Callable[[], Iterable[Counted]]


class _Metric(Protocol):
    def describe(self) -> Iterable[Metric]: ...

    def collect(self) -> Iterable[Metric]: ...


class JoinedCollector(Collector):
    """A metric, or several, with what is counted of them elsewhere.

    Args:
        metric: As Python counts it.
        elsewhere: Name of a family → what is counted of it; it may grow.
    """

    def __init__(self, metric: _Metric, elsewhere: Mapping[str, Sequence[Samples]]) -> None:
        self.metric = metric
        self._elsewhere = elsewhere

    def describe(self) -> Iterable[Metric]:
        """Names the families without reading them."""
        return self.metric.describe()

    def collect(self) -> Iterator[Metric]:
        """Reads the families and adds up."""
        for family in self.metric.collect():
            for samples in self._elsewhere.get(family.name, ()):
                _add(family, samples())
            yield family


def _add(family: Metric, counted: Iterable[Counted]) -> None:
    places = {(one.name, frozenset(one.labels.items())): i for i, one in enumerate(family.samples)}
    for suffix, labels, value in counted:
        name = family.name + suffix
        at = places.get((name, frozenset(labels.items())))
        if at is None:
            family.samples.append(Sample(name, labels, value))
        else:
            family.samples[at] = family.samples[at]._replace(value=family.samples[at].value + value)


def histogram(
    labels: Mapping[str, str], bounds: Sequence[float], counts: Sequence[int], total: float
) -> Iterator[Counted]:
    """Returns the samples of a histogram.

    Args:
        labels: Its labels.
        bounds: The upper bounds of its buckets but for the last, which has none.
        counts: Values in each bucket alone.
        total: The sum of all values.
    """
    reached = list(accumulate(counts))
    for bound, count in zip((*bounds, inf), reached, strict=True):
        yield "_bucket", {**labels, "le": floatToGoString(bound)}, count  # type: ignore[no-untyped-call]
    yield "_count", dict(labels), reached[-1]
    yield "_sum", dict(labels), total
