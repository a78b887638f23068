"""The command line of the benchmark of the served system."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.engine.machine import machine_facts
from benchmarks.service import generator, peers, sections
from benchmarks.service.data import Data
from benchmarks.service.plot import plot_compared, plot_loads
from benchmarks.service.postgres import BUILDS, Build
from benchmarks.service.report import as_json, compared_table, loads_table, medians
from benchmarks.service.sections import Plan
from benchmarks.service.subjects import Measured

__all__ = ["main"]

SECTIONS: dict[str, Callable[[Plan], Iterator[Measured]]] = {
    "shards": sections.by_shards,
    "kinds": sections.of_kinds,
    "writes": sections.with_writes,
    "peers": peers.compared,
}
QUICK: dict[str, Any] = {"seconds": 2.0, "shards": (1, 2), "shares": (0.5, 1.5), "rounds": 1}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the sections asked for and returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        generator.binary()
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    progress = _progress()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    data = Data.load(
        arguments.items, arguments.dim, arguments.seed, arguments.queries, arguments.cache, progress
    )
    try:
        for section in arguments.only:
            # On a disk: shards sync what they acknowledge, which costs nothing in memory.
            with tempfile.TemporaryDirectory(dir=arguments.cache, prefix="service-") as folder:
                _run(section, _plan(arguments, data, Path(folder), progress), arguments.out)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def _plan(arguments: argparse.Namespace, data: Data, folder: Path, progress: Callable[[str], None]) -> Plan:
    plan = Plan(
        data=data,
        bundle=arguments.bundle.resolve(),
        folder=folder.resolve(),
        seconds=arguments.seconds,
        shares=tuple(percent / 100 for percent in arguments.loads),
        shards=tuple(arguments.shards),
        rounds=arguments.rounds,
        recall=arguments.recall,
        items_written=arguments.items_written,
        peers=tuple(arguments.peers),
        postgres_builds=tuple(arguments.postgres_builds),
        progress=progress,
    )
    return replace(plan, **QUICK) if arguments.quick else plan


def _run(section: str, plan: Plan, out: Path) -> None:
    """Measures one section, and writes its JSON, its table and its picture."""
    measured = list(SECTIONS[section](plan))
    out.mkdir(parents=True, exist_ok=True)
    name = f"service-{section}-{plan.data.name}"
    figures: dict[str, Any] = {
        "machine": machine_facts(),
        "command": sys.argv[1:],
        "measured": as_json(measured),
    }
    count, dim = plan.data.catalogue.vectors.shape
    title = f"{count:,} × {dim}, k 10"
    if section == "peers":
        figures["medians"] = medians(measured)
        text = compared_table(measured)
    else:
        text = loads_table(measured)
    (out / f"{name}.json").write_text(json.dumps(figures, indent=1))
    (out / f"{name}.md").write_text(f"## {section}: {title}\n\n{text}")
    try:
        if section == "peers":
            plot_compared(figures["medians"], title, out / f"{name}.png")
        elif section == "shards":
            plot_loads(measured, title, out / f"{name}.png")
    except ImportError:
        print("no plot: matplotlib is not installed", file=sys.stderr)
    print(f"\n{text}\nwritten: {out / name}.json", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.service",
        description="Measures the served system from outside of Python; see docs/benchmarks/method.md.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def names(known: Sequence[str]) -> Callable[[str], list[str]]:
        def listed(text: str) -> list[str]:
            chosen = [name for name in text.split(",") if name]
            if unknown := set(chosen) - set(known):
                raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; use {', '.join(known)}")
            return chosen

        return listed

    sections_, all_peers = tuple(SECTIONS), peers.PEERS
    parser.add_argument(
        "--only", type=names(sections_), default=list(sections_), help="sections, separated by commas"
    )
    parser.add_argument(
        "--peers", type=names(all_peers), default=list(all_peers), help="what to compare with, likewise"
    )
    parser.add_argument(
        "--postgres-builds",
        type=Build.parse,
        nargs="+",
        default=BUILDS,
        metavar="M/EF/f16",
        help="indexes that PostgreSQL is tried with: one of 1.1 M items takes a quarter of an hour",
    )
    parser.add_argument("--quick", action="store_true", help="a short run, to see that everything works")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--seed", type=int, default=7, help="of the simulated catalogue")
    parser.add_argument("--queries", type=int, default=1_000, help="different searches, at most 2,000")
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument(
        "--loads",
        type=float,
        nargs="+",
        default=[10, 50, 70, 90, 150],
        help="per cent of what is answered at most",
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each load")
    parser.add_argument("--rounds", type=int, default=5, help="in which the servers compared take turns")
    parser.add_argument("--recall", type=float, default=0.98, help="what the servers compared are tuned to")
    parser.add_argument("--items-written", type=float, default=500.0, help="a second, in the section writes")
    parser.add_argument(
        "--bundle", type=Path, default=Path("build/bundles/efficientnet-lite0"), help="the embedder's model"
    )
    parser.add_argument("--cache", type=Path, default=Path("build/bench"), help="the simulated catalogues")
    parser.add_argument("--out", type=Path, default=Path("build/bench/results"), help="where results go")
    return parser


def _progress() -> Callable[[str], None]:
    started = time.monotonic()

    def show(text: str) -> None:
        print(f"[{time.monotonic() - started:7.1f} s] {text}", file=sys.stderr, flush=True)

    return show
