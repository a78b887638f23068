"""Metrics that are counted partly elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from lookalike.runtime.joined import Counted, histogram
from lookalike.runtime.metrics import Metrics, Read


def test_samples_of_one_series_are_added_and_others_appended() -> None:
    metrics = Metrics()
    counter = metrics.counter("lookalike_things_total", "Things.", ("kind",))
    times = metrics.histogram("lookalike_work_seconds", "Work.", ("stage",), (0.1, 1.0))
    metrics.read([Read("lookalike_now", "Now.")], lambda: [("lookalike_now", (), 2)])
    counter.labels("a").inc(2)
    times.labels("x").observe(0.5)

    def things() -> Iterator[Counted]:
        yield "_total", {"kind": "a"}, 3
        yield "_total", {"kind": "b"}, 1

    def work() -> Iterator[Counted]:
        for stage in ("x", "y"):
            yield from histogram({"stage": stage}, (0.1, 1.0), (1, 0, 2), 9.05)

    metrics.join("lookalike_things_total", things)
    metrics.join("lookalike_work_seconds", work)
    metrics.join("lookalike_now", lambda: [("", {}, 5)])
    value = metrics.registry.get_sample_value
    assert [value("lookalike_things_total", {"kind": kind}) for kind in "ab"] == [5, 1]
    buckets = {
        stage: [
            value("lookalike_work_seconds_bucket", {"stage": stage, "le": le})
            for le in ("0.1", "1.0", "+Inf")
        ]
        for stage in "xy"
    }
    assert buckets == {"x": [1, 2, 4], "y": [1, 1, 3]}
    assert value("lookalike_work_seconds_count", {"stage": "x"}) == 4
    assert value("lookalike_work_seconds_sum", {"stage": "x"}) == 9.55
    assert value("lookalike_now") == 7
    # Asked for by name, too, and no family twice.
    only = generate_latest(metrics.registry.restricted_registry(["lookalike_things_total"])).decode()
    assert only.count("# TYPE") == 1
    assert 'lookalike_things_total{kind="b"} 1.0' in only


def test_of_each_bucket_the_later_exemplar_is_shown() -> None:
    metrics = Metrics()
    times = metrics.histogram("lookalike_work_seconds", "Work.", ("stage",), (0.1, 1.0))
    for seconds in (0.01, 0.5):
        times.labels("x").observe(seconds, {"trace_id": "python"})
    seen = [(0, 0xA, 0.02, 5.0), (1, 0xB, 0.6, 1e12), (2, 0xC, 7.0, 5.0)]
    metrics.join(
        "lookalike_work_seconds", lambda: histogram({"stage": "x"}, (0.1, 1.0), (1, 1, 1), 7.62, seen)
    )
    lines = [line for line in openmetrics(metrics.registry).decode().splitlines() if "_bucket" in line]
    traces = [line.partition('# {trace_id="')[2].partition('"')[0] for line in lines]
    assert traces == ["python", f"{0xB:032x}", f"{0xC:032x}"]
    assert lines[2].endswith("} 7.0 5.0")
