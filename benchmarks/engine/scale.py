"""How the cost of a query grows with the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.engine.catalogue import Catalogue
from benchmarks.engine.contenders import contenders
from benchmarks.engine.curves import Options, Plan, run_curves
from benchmarks.engine.levels import Rate, rate_at
from benchmarks.engine.report import curve_json, table

__all__ = ["run"]


def run(catalogues: Iterable[Catalogue], plan: Plan, options: Options) -> tuple[dict[str, Any], str]:
    """Builds and searches Lookalike at every size; returns the figures and one table."""
    figures: dict[str, Any] = {}
    rows = []
    for catalogue in catalogues:
        count, dim = catalogue.vectors.shape
        runs, left_out = run_curves(contenders("scale", dim, count), catalogue, plan, options)
        figures[catalogue.name] = curve_json(runs, left_out, plan)
        for entry in runs:
            resident = entry.memory["resident_bytes"]
            rates = [rate_at(entry.points("single"), level) for level in plan.levels]
            rows.append(
                [
                    f"{entry.contender.name}, {count:,} × {dim}",
                    f"{entry.build.seconds:.1f}",
                    f"{resident / 1e6:,.0f}",
                    f"{resident / entry.memory['float32_bytes']:.2f}",
                    *(_micros(rate) for rate in rates),
                ]
            )
    header = ["index", "build s", "resident MB", "of float32"]
    header += [f"µs a query at {level:.2f}" for level in plan.levels]
    return figures, "## Cost against size, single queries on one thread\n\n" + table(header, rows)


def _micros(rate: Rate) -> str:
    if rate.at_least is not None:
        return f"≤ {1e6 / rate.at_least:.0f}"
    return f"{1e6 / rate.value:.0f}" if rate.value is not None else rate.between[0]
