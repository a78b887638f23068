"""The command line of the engine benchmark."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine import buildtime, filtered, kernels, live, real, scale
from benchmarks.engine.catalogue import Catalogue, Spec, load_or_generate
from benchmarks.engine.contenders import ENGINES, GROUPS, contenders
from benchmarks.engine.curves import Options, Plan, prepare, run_curves
from benchmarks.engine.machine import available_bytes, machine_facts
from benchmarks.engine.plot import plot_curves
from benchmarks.engine.report import curve_json, curve_tables

__all__ = ["main"]

SIZES = (100_000, 1_100_000)
LARGE = 5_000_000
PLANS = {
    "curves": Plan(),
    "real": Plan(),
    # Exhaustive and multi-hash searches take up to a tenth of a second a query.
    "families": Plan((0.7, 0.8, 0.9, 0.95), 0.5, ("single",), 300, 60, baseline="FAISS IndexBinaryMultiHash"),
}


@dataclass(frozen=True, slots=True)
class Context:
    """The arguments, where to write, and how to measure."""

    arguments: argparse.Namespace
    options: Options
    out: Path

    def catalogues(self) -> Iterator[Catalogue]:
        """The catalogues asked for, each generated when its turn comes."""
        a = self.arguments
        sizes = [*a.items, *([LARGE] if a.large else [])]
        for items in sizes:
            for dim in a.dim:
                yield load_or_generate(Spec(dim, items, a.seed, a.queries), a.cache, self.options.progress)

    def write(self, name: str, figures: dict[str, Any], tables: str) -> None:
        """Writes the JSON and the table of one section, and all tables so far into one page."""
        self.out.mkdir(parents=True, exist_ok=True)
        document = {"machine": machine_facts(), "command": sys.argv[1:], **figures}
        (self.out / f"{name}.json").write_text(json.dumps(document, indent=1))
        (self.out / f"{name}.md").write_text(tables)
        pages = sorted(p for p in self.out.glob("*.md") if p.name != "report.md")
        (self.out / "report.md").write_text("\n".join(page.read_text() for page in pages))
        print(f"\n{tables}\nwritten: {self.out / name}.json", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the sections asked for and returns the exit code."""
    arguments = _parser().parse_args(argv)
    cores = os.sched_getaffinity(0)
    core = max(cores) if arguments.core is None else arguments.core
    build_cores = frozenset(arguments.build_cores or cores)
    if not ({core} | build_cores) <= cores:
        print(f"error: this process may run on the cores {sorted(cores)} only", file=sys.stderr)
        return 2
    memory_bytes = int(arguments.memory_gib * 2**30) if arguments.memory_gib else available_bytes() * 7 // 10
    options = Options(arguments.cache, core, build_cores, arguments.rounds, memory_bytes, _progress())
    context = Context(arguments, options, arguments.out)
    try:
        for section in arguments.only:
            SECTIONS[section](context)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def _curves(context: Context, section: str, catalogue: Catalogue) -> None:
    count, dim = catalogue.vectors.shape
    chosen = contenders(section if section in GROUPS else "curves", dim, count, context.arguments.engines)
    plan = PLANS[section]
    runs, left_out = run_curves(chosen, catalogue, plan, context.options)
    name = f"{section}-{catalogue.name}"
    context.write(name, curve_json(runs, left_out, plan), curve_tables(catalogue, runs, left_out, plan))
    try:
        plot_curves(catalogue, runs, plan, context.out / f"{name}.png")
    except ImportError:
        print("no plot: matplotlib is not installed", file=sys.stderr)


def _each_catalogue(section: str) -> Callable[[Context], None]:
    def run(context: Context) -> None:
        for catalogue in context.catalogues():
            _curves(context, section, catalogue)

    return run


def _prebuild(context: Context) -> None:
    for catalogue in context.catalogues():
        count, dim = catalogue.vectors.shape
        chosen = contenders("curves", dim, count, context.arguments.engines)
        runs, left_out = prepare(chosen, catalogue, context.options)
        for run in runs:
            print(f"{catalogue.name}: {run.contender.name}: {run.build.seconds:.1f} s", flush=True)
        for name, reason in left_out.items():
            print(f"{catalogue.name}: {name} left out: {reason}", flush=True)


def _real(context: Context) -> None:
    a = context.arguments
    if a.photos is None:
        print("real: left out, pass the folder of the photos as --photos", file=sys.stderr)
        return
    try:
        catalogue = real.load_or_make(a.photos, a.bundle, a.augment, a.cache, context.options.progress)
    except FileNotFoundError as error:
        print(f"real: left out, {error}", file=sys.stderr)
        return
    _curves(context, "real", catalogue)


def _build(context: Context) -> None:
    for catalogue in context.catalogues():
        result = buildtime.run(
            catalogue, context.arguments.engines, context.arguments.build_rounds, context.options
        )
        context.write(f"build-{catalogue.name}", *result)


def _filtered(context: Context) -> None:
    for catalogue in context.catalogues():
        figures = filtered.run(catalogue, context.arguments.engines, context.options)
        context.write(f"filtered-{catalogue.name}", *figures)


def _live(context: Context) -> None:
    a = context.arguments
    for catalogue in context.catalogues():
        figures = live.run(catalogue, a.engines, a.seconds, a.upserts, context.options)
        context.write(f"live-{catalogue.name}", *figures)


def _scale(context: Context) -> None:
    context.write("scale", *scale.run(context.catalogues(), PLANS["curves"], context.options))


def _encode(context: Context) -> None:
    context.write("encode", *kernels.encode(context.options))


def _hamming(context: Context) -> None:
    context.write("hamming", *kernels.hamming(context.options))


SECTIONS: dict[str, Callable[[Context], None]] = {
    "curves": _each_catalogue("curves"),
    "families": _each_catalogue("families"),
    "filtered": _filtered,
    "live": _live,
    "build": _build,
    "encode": _encode,
    "hamming": _hamming,
    "real": _real,
    "scale": _scale,
    "prebuild": _prebuild,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description="Measures the hash index next to other libraries; see docs/benchmarks/method.md.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    everything = [name for name in SECTIONS if name not in ("prebuild", "scale")]

    def listed(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(SECTIONS):
            raise argparse.ArgumentTypeError(
                f"unknown section {', '.join(unknown)}; use {', '.join(SECTIONS)}"
            )
        return names

    parser.add_argument("--only", type=listed, default=everything, help="sections, separated by commas")
    parser.add_argument("--dim", type=int, nargs="+", default=[256, 512], help="dimensions")
    parser.add_argument("--items", type=int, nargs="+", default=list(SIZES), help="catalogue sizes")
    parser.add_argument("--large", action="store_true", help=f"also {LARGE:,} items")
    parser.add_argument("--seed", type=int, default=7, help="seed of the catalogue; 1 is for tuning")
    parser.add_argument("--queries", type=int, default=2_000, help="queries of a simulated catalogue")
    parser.add_argument(
        "--rounds", type=int, default=3, help="measurements of each setting; the median counts"
    )
    parser.add_argument("--build-rounds", type=int, default=1, help="measurements of each build time")

    def engines(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - ENGINES:
            raise argparse.ArgumentTypeError(
                f"unknown engine {', '.join(sorted(unknown))}; use {', '.join(sorted(ENGINES))}"
            )
        return names

    parser.add_argument("--engines", type=engines, default=[], help="only these, such as lookalike,scann")
    parser.add_argument("--core", type=int, help="the core that searches run on; default: the last one")
    parser.add_argument("--build-cores", type=int, nargs="+", help="cores that builds may use; default: all")
    parser.add_argument("--memory-gib", type=float, help="for loaded indexes; default: 70 %% of what is free")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the run with upserts")
    parser.add_argument("--upserts", type=int, default=20_000, help="upserts a second in that run")
    parser.add_argument("--photos", type=Path, help="folder of real photos; without it, real is left out")
    parser.add_argument(
        "--bundle",
        type=Path,
        default=Path("build/bundles/efficientnet-lite0"),
        help="model that makes the features of real photos",
    )
    parser.add_argument("--augment", type=int, default=20, help="views made of each real photo")
    parser.add_argument(
        "--cache", type=Path, default=Path("build/bench"), help="catalogues and built indexes"
    )
    parser.add_argument("--out", type=Path, default=Path("build/bench/results"), help="where results go")
    return parser


def _progress() -> Callable[[str], None]:
    started = time.monotonic()

    def show(text: str) -> None:
        print(f"[{time.monotonic() - started:7.1f} s] {text}", file=sys.stderr, flush=True)

    return show
