"""What is answered, and how fast, when more is asked than can be: ``python -m benchmarks.overload``.

Starts the services, finds out how many searches a second a few callers get answered, and then sends 0.2, 1, 2
and 3 times as many at random times, whatever becomes of them, by embedding and by photo. Goodput is what is
answered in time. Nothing else should run meanwhile; the load generator takes a part of the machine, too.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.service import generator, photos, servers
from benchmarks.service.data import Data
from benchmarks.service.generator import Found, Load
from benchmarks.service.subjects import Subject, measure, warm
from deploy.local.stack import Stack

KINDS = ("embedding", "photo")
REFUSED = "RESOURCE_EXHAUSTED"


@dataclass(frozen=True)
class Row:
    """One load."""

    kind: str
    load: str
    asked_per_second: float
    answered_per_second: float
    p50_ms: float
    p99_ms: float
    refused_p99_ms: float
    refused: int
    failed: int
    """Neither answered nor refused."""
    cpu_ms: float
    """Of the services, for each answer."""

    @classmethod
    def of(cls, kind: str, load: str, asked: float, found: Found, cpu_ms: float) -> Row:
        """Returns the figures to print."""
        refused = found.statuses.get(REFUSED, 0)
        return cls(
            kind,
            load,
            asked,
            found.answered_per_second,
            found.latency_us.get("p50", 0.0) / 1e3,
            found.latency_us.get("p99", 0.0) / 1e3,
            found.failed_us.get("p99", 0.0) / 1e3,
            refused,
            found.failed - refused,
            cpu_ms,
        )


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    items: int
    dim: int
    shards: int
    kinds: Sequence[str]
    loads: Sequence[float]
    seconds: float
    callers: int
    deadline_seconds: float


def subject_of(kind: str, plan: Plan, stack: Stack, data: Data, folder: Path) -> Subject:
    """Returns the searches of a kind, whose items are in the services."""
    if kind == "photo":
        return photos.searches(stack, folder)
    requests = generator.write_messages(folder / "embedding.requests", data.searches())
    call = generator.grpc_call(stack.gateway.target, servers.SEARCH_METHOD)
    return Subject("by embedding", call, servers.processes_of(stack), requests)


def rows_of(
    kind: str, subject: Subject, plan: Plan, folder: Path, progress: Callable[[str], None]
) -> Iterator[Row]:
    """Measures a kind: as fast as a few callers get answers, and then at shares of that."""
    subject = replace(subject, recall=None, callers=plan.callers)
    warm(subject)
    most = measure(subject, "closed", Load(plan.seconds, callers=plan.callers), folder)
    yield Row.of(kind, "closed", most.found.answered_per_second, most.found, most.total_cpu_ms)
    for share in plan.loads:
        rate = most.found.answered_per_second * share
        load = Load(plan.seconds, rate, deadline_seconds=plan.deadline_seconds)
        measured = measure(subject, f"{share:g}", load, folder)
        row = Row.of(kind, f"{share:g}", rate, measured.found, measured.total_cpu_ms)
        progress(f"{kind} {share:g}: {measured.found.statuses}, {measured.others:.2f} cores were others'")
        yield row


def run(plan: Plan, bundle: Path, cache: Path, progress: Callable[[str], None]) -> list[Row]:
    """Starts the services and measures all kinds."""
    cache.mkdir(parents=True, exist_ok=True)
    data = Data.load(plan.items, plan.dim, 7, 1000, cache, progress)
    rows: list[Row] = []
    # On a disk: shards sync what they acknowledge.
    with tempfile.TemporaryDirectory(dir=cache, prefix="overload-") as name:
        folder = Path(name).resolve()
        with servers.lookalike(data, plan.shards, bundle.resolve(), folder / "services") as stack:
            for kind in plan.kinds:
                subject = subject_of(kind, plan, stack, data, folder)
                rows.extend(rows_of(kind, subject, plan, folder, progress))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Returns the figures in Markdown, goodput as a share of the highest of its kind."""
    lines = [
        "| searches | load | asked /s | answered /s | of the peak | p50 ms | p99 ms | refused"
        " | refused p99 ms | failed | CPU ms |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        peak = max(one.answered_per_second for one in rows if one.kind == row.kind)
        lines.append(
            f"| by {row.kind} | {row.load} | {row.asked_per_second:,.0f} | {row.answered_per_second:,.0f}"
            f" | {row.answered_per_second / peak:.0%} | {row.p50_ms:.1f} | {row.p99_ms:.1f} | {row.refused:,}"
            f" | {row.refused_p99_ms:.1f} | {row.failed:,} | {row.cpu_ms:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument(
        "--loads", type=float, nargs="+", default=[0.2, 1, 2, 3], help="of what a few callers get answered"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="for each load")
    parser.add_argument("--callers", type=int, default=4, help="those few")
    parser.add_argument("--deadline-seconds", type=float, default=1.0, help="of each search")
    parser.add_argument("--bundle", type=Path, default=Path("build/bundles/efficientnet-lite0"))
    parser.add_argument("--cache", type=Path, default=Path("build/bench"), help="the simulated catalogues")
    parser.add_argument("--json", type=Path, help="writes the figures there, too")
    given = parser.parse_args()
    plan = Plan(
        given.items,
        given.dim,
        given.shards,
        given.kinds,
        given.loads,
        given.seconds,
        given.callers,
        given.deadline_seconds,
    )
    rows = run(plan, given.bundle, given.cache, lambda text: print(text, file=sys.stderr, flush=True))
    print(table(rows))
    if given.json:
        given.json.write_text(
            json.dumps({"plan": asdict(plan), "rows": [asdict(row) for row in rows]}, indent=1)
        )


if __name__ == "__main__":
    main()
