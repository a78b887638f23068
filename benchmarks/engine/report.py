"""Tables in Markdown from the measured runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.engine.catalogue import Catalogue
from benchmarks.engine.curves import Plan, Run, is_own
from benchmarks.engine.levels import Point, Rate, best_rate_at, rate_at
from benchmarks.engine.measure import Mode

__all__ = ["curve_json", "curve_tables", "rate_cell", "table"]


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; figures are aligned right."""
    lines = [
        f"| {' | '.join(header)} |",
        f"| {' | '.join('---' if column == 0 else '---:' for column in range(len(header)))} |",
    ]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def curve_tables(catalogue: Catalogue, runs: Sequence[Run], left_out: dict[str, str], plan: Plan) -> str:
    """Rates at the recall levels for single queries and batches, then every index with its memory."""
    count, dim = catalogue.vectors.shape
    levels = plan.levels
    queries = len(catalogue.queries[: plan.queries])
    parts = [f"## {count:,} × {dim}, {queries:,} queries ({catalogue.name})\n"]
    compared = "own / it" if plan.baseline is None else f"it / {plan.baseline}"
    for mode in plan.modes:
        title = "Single queries" if mode == "single" else "Batches of 1,000"
        parts.append(f"### {title}: queries/s at recall@10, one thread\n")
        header = (
            ["engine"]
            + [f"{level:.2f}" for level in levels]
            + [f"{compared} at {level:.2f}" for level in levels]
        )
        parts.append(table(header, _rate_rows(runs, mode, plan)))
    parts.append("### Indexes\n")
    header = ["index", "build s", "threads", "resident MB", "of float32", "highest recall@10"]
    header += [f"single q/s at {level:.2f}" for level in levels]
    parts.append(table(header, _index_rows(runs, levels)))
    parts.append("–: not reached, or another index of the same engine is clearly better there.\n")
    parts += [f"Left out: {name}: {reason.splitlines()[-1]}\n" for name, reason in left_out.items()]
    return "\n".join(parts)


def curve_json(runs: Sequence[Run], left_out: dict[str, str], plan: Plan) -> dict[str, Any]:
    """Everything raw, and the rates read off it."""
    rates = {
        mode: {
            engine: {f"{level:g}": _rate_json(best_rate_at(indexes, level)) for level in plan.levels}
            for engine, indexes in by_engine(runs, mode).items()
        }
        for mode in plan.modes
    }
    return {"rates": rates, "left_out": left_out, "runs": [run.as_json() for run in runs]}


def by_engine(runs: Sequence[Run], mode: Mode) -> dict[str, list[list[Point]]]:
    """The points of each index of each engine."""
    found: dict[str, list[list[Point]]] = {}
    for run in merged(runs):
        found.setdefault(run.contender.engine, []).append(run.points(mode))
    return found


def merged(runs: Sequence[Run]) -> list[Run]:
    """One run per contender: those measured in several groups have the rounds of all of them."""
    found: dict[str, Run] = {}
    for run in runs:
        whole = found.setdefault(run.contender.name, Run(run.contender, run.build, run.group, run.memory))
        for key, figures in run.rounds.items():
            whole.rounds.setdefault(key, []).extend(figures)
    return list(found.values())


def _rate_rows(runs: Sequence[Run], mode: Mode, plan: Plan) -> list[list[str]]:
    curves = by_engine(runs, mode)
    rows = []
    for engine, indexes in curves.items():
        rates = [best_rate_at(indexes, level) for level in plan.levels]
        if plan.baseline is None:
            groups = {run.group for run in runs if run.contender.engine == engine}
            reference = own_points(runs, mode, groups)
        else:
            reference = curves.get(plan.baseline, [])
        other = [best_rate_at(reference, level) for level in plan.levels]
        compared = (other, rates) if plan.baseline is None else (rates, other)
        pairs = zip(*compared, strict=True)
        rows.append([engine, *(rate_cell(rate) for rate in rates), *(_ratio(*pair) for pair in pairs)])
    return rows


def own_points(runs: Sequence[Run], mode: Mode, groups: set[int]) -> list[list[Point]]:
    """The points of each of Lookalike's indexes, as measured in turn with the engines of `groups`."""
    own = merged([run for run in runs if is_own(run.contender) and run.group in groups])
    return [run.points(mode) for run in own]


def _index_rows(runs: Sequence[Run], levels: Sequence[float]) -> list[list[str]]:
    rows = []
    for run in runs:
        if run.group and is_own(run.contender):
            continue
        rates = [rate_at(run.points("single"), level) for level in levels]
        resident = run.memory["resident_bytes"]
        rows.append(
            [
                run.contender.name,
                f"{run.build.seconds:.1f}" + (" (busy)" if run.build.others > 0.1 else ""),
                str(run.build.threads),
                f"{resident / 1e6:,.0f}",
                f"{resident / run.memory['float32_bytes']:.2f}",
                f"{max(figures['recall'] for figures in run.screened.values()):.4f}",
                # A build's own points may be screened out because another build is better there.
                *(f"{rate.value:,.0f}" if rate.value else "–" for rate in rates),
            ]
        )
    return rows


def rate_cell(rate: Rate) -> str:
    """The rate, a bound of it, or why there is none."""
    if rate.at_least is not None:
        return f"≥ {rate.at_least:,.0f}"
    return f"{rate.value:,.0f}" if rate.value is not None else rate.between[0]


def _ratio(own: Rate, other: Rate) -> str:
    if own.value is not None and other.value is not None:
        return f"{own.value / other.value:.2f}"
    if own.at_least is not None and other.value is not None:
        return f"≥ {own.at_least / other.value:.2f}"
    if own.value is not None and other.at_least is not None:
        return f"≤ {own.value / other.at_least:.2f}"
    return "–"


def _rate_json(rate: Rate) -> dict[str, Any]:
    return {"queries_per_second": rate.value, "at_least": rate.at_least, "between": rate.between}
