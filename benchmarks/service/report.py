"""Tables and JSON of what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.engine.report import table
from benchmarks.service.subjects import Measured

__all__ = ["as_json", "compared_table", "loads_table", "medians"]

PERCENTILES = ("p50", "p95", "p99", "p99.9")
ECHO = "bare grpc.aio"


def as_json(measured: Iterable[Measured]) -> list[dict[str, Any]]:
    """Everything raw."""
    return [{**asdict(one), "total_cpu_ms": one.total_cpu_ms} for one in measured]


def loads_table(measured: Sequence[Measured]) -> str:
    """A row for each load."""
    header = ["searches", "load", "asked/s", "answered/s", "not answered"]
    header += [f"{name} ms" for name in PERCENTILES]
    header += ["CPU ms: gateway", "hashers", "embedder", "all", "recall", "others' cores"]
    return table(header, [_load_row(one) for one in measured])


def _load_row(one: Measured) -> list[str]:
    found = one.found
    cells = [one.subject, one.load, _rate(one.asked_per_second), _rate(found.answered_per_second)]
    cells.append(_failures(one))
    cells += [_ms(found.latency_us, name) for name in PERCENTILES]
    cpu = dict.fromkeys(("gateway", "hasher", "embedder"), 0.0)
    for process, cost in one.cpu_ms.items():
        cpu[process.split("-")[0]] += cost
    cells += [f"{cost:.2f}" if cost else "" for cost in cpu.values()]
    cells += [f"{one.total_cpu_ms:.2f}", _recall(one.recall), f"{one.others:.1f}"]
    return cells


def compared_table(measured: Sequence[Measured]) -> str:
    """A row for each server: what it answers at most, and medians over the rounds at half of that."""
    rows = medians(measured)
    echo = rows[ECHO]["cpu_ms"] if ECHO in rows else None
    header = ["server", "searches/s at most", "CPU ms a search", f"of {ECHO}'s", "p50 ms", "p99 ms", "recall"]
    cells = []
    for name, row in rows.items():
        cost = f"{row['cpu_ms']:.3f}"
        if len(row["processes"]) > 1:
            parts = (f"{process} {each:.3f}" for process, each in row["processes"].items())
            cost += f" ({', '.join(parts)})"
        ratio = f"{row['cpu_ms'] / echo:.2f}" if echo else ""
        times = [f"{row[percentile]:.2f}" for percentile in ("p50", "p99")]
        cells.append([name, _rate(row["most_per_second"]), cost, ratio, *times, _recall(row["recall"])])
    return table(header, cells)


def medians(measured: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    """Server → medians over its rounds; times in milliseconds."""
    rows: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(one.subject for one in measured):
        own = [one for one in measured if one.subject == name]
        rounds = [one for one in own if one.asked_per_second is not None]
        (most,) = (one for one in own if one.asked_per_second is None)
        rows[name] = {
            "most_per_second": most.found.answered_per_second,
            "cpu_ms": statistics.median(one.total_cpu_ms for one in rounds),
            "processes": {
                process: statistics.median(one.cpu_ms[process] for one in rounds) for process in most.cpu_ms
            },
            "recall": most.recall,
            **{
                percentile: statistics.median(one.found.latency_us[percentile] for one in rounds) / 1e3
                for percentile in PERCENTILES
            },
        }
    return rows


def _failures(one: Measured) -> str:
    failures = {name: count for name, count in one.found.statuses.items() if name != "OK"}
    if one.found.unsent:
        failures["not sent"] = one.found.unsent
    asked = one.found.answered + one.found.failed
    return ", ".join(f"{count / asked:.1%} {name}" for name, count in failures.items())


def _ms(times: Mapping[str, float], name: str) -> str:
    return f"{times[name] / 1e3:.1f}" if times else ""


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:,.0f}"


def _recall(recall: float | None) -> str:
    return "" if recall is None else f"{recall:.4f}"
