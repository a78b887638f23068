"""Metrics that are counted partly outside of Python, where a call never reaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Protocol

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

Counted = tuple[str, dict[str, str], float] | tuple[str, dict[str, str], float, Exemplar | None]
"""What a sample's name adds to the metric's (``_total``, ``_bucket``, …), its labels, value and exemplar."""
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
    for suffix, labels, value, *further in counted:
        exemplar = further[0] if further else None
        name = family.name + suffix
        at = places.get((name, frozenset(labels.items())))
        if at is None:
            family.samples.append(Sample(name, labels, value, exemplar=exemplar))
        else:
            own = family.samples[at]
            family.samples[at] = own._replace(
                value=own.value + value, exemplar=_later(own.exemplar, exemplar)
            )


def _later(first: Exemplar | None, second: Exemplar | None) -> Exemplar | None:
    return max(filter(None, (first, second)), key=lambda one: float(one.timestamp or 0), default=None)


def histogram(
    labels: Mapping[str, str],
    bounds: Sequence[float],
    counts: Sequence[int],
    total: float,
    exemplars: Iterable[tuple[int, int, float, float]] = (),
) -> Iterator[Counted]:
    """Returns the samples of a histogram.

    Args:
        labels: Its labels.
        bounds: The upper bounds of its buckets but for the last, which has none.
        counts: Values in each bucket alone.
        total: The sum of all values.
        exemplars: Number of a bucket, trace id, value, and its time in seconds since 1970.
    """
    seen = {
        bucket: Exemplar({"trace_id": f"{trace_id:032x}"}, value, at)
        for bucket, trace_id, value, at in exemplars
    }
    reached = list(accumulate(counts))
    for bucket, (bound, count) in enumerate(zip((*bounds, inf), reached, strict=True)):
        le = floatToGoString(bound)  # type: ignore[no-untyped-call]
        yield "_bucket", {**labels, "le": le}, count, seen.get(bucket)
    yield "_count", dict(labels), reached[-1]
    yield "_sum", dict(labels), total
