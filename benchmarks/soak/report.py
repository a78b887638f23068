"""The tables of a soak, and what is wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.soak.callers import Outcome
from benchmarks.soak.run import Soaked
from benchmarks.soak.searches import Slice
from benchmarks.soak.trends import RULE, Trend

__all__ = ["problems", "report"]

FINE = {"ok", "cancelled"}


def problems(soaked: Soaked, trends: Sequence[Trend]) -> list[str]:
    """Returns what must not be."""
    wrong = []
    if failed := _failed(one for one in soaked.slices if not one.around_kill):
        wrong.append(f"searches failed that no kill explains: {_counts(failed)}")
    for what, outcomes in (("cancelled searches", soaked.cancelling), ("writes", soaked.writing)):
        _, outside = _split(soaked, outcomes)
        if failed := Counter({name: n for name, n in outside.items() if name not in FINE}):
            wrong.append(f"{what} failed that no kill explains: {_counts(failed)}")
    wrong += [
        f"{process} has ended by itself; it said last: {line}" for process, line in soaked.ended.items()
    ]
    if soaked.lost:
        wrong.append(f"{len(soaked.lost)} acknowledged writes are lost, such as {soaked.lost[0]}")
    wrong += [f"{process} still has calls in progress: {found}" for process, found in soaked.left.items()]
    wrong += [
        f"{one.measure} of {one.process} grow: {_number(one.first)} to {_number(one.last)}"
        for one in trends
        if one.grows
    ]
    return wrong


def report(soaked: Soaked, trends: Sequence[Trend]) -> str:
    """Returns the tables in Markdown."""
    parts = [_summary(soaked), _searches(soaked), _calls(soaked), _trends(trends), RULE]
    return "\n\n".join(parts)


def _summary(soaked: Soaked) -> str:
    plan = soaked.plan
    away = [kill.restored - kill.killed for kill in soaked.kills]
    kills = f"{len(away)} kills" + (f", away for {min(away):.1f} to {max(away):.1f} s" if away else "")
    others = [one.others for one in soaked.slices]
    return (
        f"{plan.seconds / 60:g} minutes, {plan.items:,} x {plan.dim}: {soaked.capacity:,.0f} searches/s can"
        f" be answered, {soaked.rate:,.0f} were sent, {plan.cancelled:.0%} of them to be cancelled;"
        f" {plan.items_written:g} items/s written; {kills}; others kept {np.mean(others):.2f} cores"
        f" busy, at most {max(others):.2f} in a slice"
    )


def _searches(soaked: Soaked) -> str:
    lines = [
        "| searches | sent | whole | in part | failed | of them taking a part | by code | p50 ms | p99 ms |",
        "|---|" + "---:|" * 5 + "---|---:|---:|",
    ]
    around = f"until {soaked.plan.around_seconds:g} s after a kill"
    for name, wanted in ((around, True), ("outside", False)):
        slices = [one for one in soaked.slices if one.around_kill == wanted]
        failed = _failed(slices)
        lines.append(
            f"| {name} | {sum(one.sent for one in slices):,} | {sum(one.whole for one in slices):,}"
            f" | {sum(one.part for one in slices):,} | {failed.total():,}"
            f" | {sum(one.part_failed for one in slices):,} | {_counts(failed)}"
            f" | {_mid([one.p50_ms for one in slices])} | {_mid([one.p99_ms for one in slices])} |"
        )
    return "\n".join([*lines, "", "Times are medians over slices of the percentiles of each."])


def _calls(soaked: Soaked) -> str:
    lines = ["| calls | around kills | outside |", "|---|---|---|"]
    kinds = {
        "searches, to be cancelled": soaked.cancelling,
        "upserts": [one for one in soaked.writing if one.kind == "upsert"],
        "deletions": [one for one in soaked.writing if one.kind == "deletion"],
    }
    for name, outcomes in kinds.items():
        around, outside = _split(soaked, outcomes)
        lines.append(f"| {name} | {_counts(around)} | {_counts(outside)} |")
    return "\n".join(lines)


def _trends(trends: Sequence[Trend]) -> str:
    lines = [
        "| process | what | points | first | last | per hour | its interval | grows |",
        "|---|---|" + "---:|" * 5 + "---|",
    ]
    for one in trends:
        slope = one.slope
        fitted = f"{slope.per_hour:+.1f} | {slope.low:+.1f} to {slope.high:+.1f}" if slope else "- | -"
        verdict = {None: "-", True: "yes", False: "no"}[one.grows]
        lines.append(
            f"| {one.process} | {one.measure} | {one.points} | {_number(one.first)} | {_number(one.last)}"
            f" | {fitted} | {verdict} |"
        )
    return "\n".join(lines)


def _split(soaked: Soaked, outcomes: Sequence[Outcome]) -> tuple[Counter[str], Counter[str]]:
    """Counts what became of calls around kills, and outside of them."""
    around, outside = Counter[str](), Counter[str]()
    for one in outcomes:
        (around if soaked.explained(one.began, one.ended) else outside)[one.outcome] += 1
    return around, outside


def _failed(slices: Iterable[Slice]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in slices:
        total.update(one.failed)
    return total


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counter.items())) or "none"


def _mid(values: Sequence[float]) -> str:
    return f"{sorted(values)[len(values) // 2]:.1f}" if values else "-"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.1f}".removesuffix(".0")
