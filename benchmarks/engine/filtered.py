"""Search among the items that match a filter, at several selectivities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.catalogue import TRUTH_K, Catalogue, exact_top
from benchmarks.engine.contenders import Contender, contenders
from benchmarks.engine.curves import Options, Run, describe, prepare
from benchmarks.engine.engines.base import Settings, UnavailableError
from benchmarks.engine.levels import Point, rate_at
from benchmarks.engine.measure import K, load, recall_of, timed
from benchmarks.engine.processes import Child, ChildError, State
from benchmarks.engine.report import rate_cell, table
from benchmarks.engine.selection import PERCENTS, matching

__all__ = ["run"]

LEVELS = (0.95, 0.98, 0.99)
QUERIES = 1_000


def run(catalogue: Catalogue, engines: Sequence[str], options: Options) -> tuple[dict[str, Any], str]:
    """Rates of single queries at recall levels among the matching items, engine by engine."""
    count, dim = catalogue.vectors.shape
    runs, left_out = prepare(contenders("filtered", dim, count, engines), catalogue, options)
    points: dict[tuple[int, str], list[Point]] = {}
    raw = []
    for percent in PERCENTS:
        options.progress(f"{catalogue.name}: exact answers among {percent} %")
        allowed = matching(count, percent)
        truth = exact_top(catalogue.vectors, catalogue.queries[:QUERIES], TRUTH_K, allowed)
        for _ in range(options.rounds):
            for entry in runs:
                if entry.contender.name in left_out:
                    continue
                try:
                    figures = _measure(entry, catalogue, percent, truth, options)
                except (ChildError, UnavailableError) as error:
                    left_out[entry.contender.name] = str(error).strip()
                    continue
                raw.append({"engine": entry.contender.name, "percent": percent, "settings": figures})
    for contender in (entry.contender for entry in runs):
        for percent in PERCENTS:
            points[percent, contender.name] = _medians(raw, contender, percent)
    rows = [
        [f"{name}, {percent} %", *(rate_cell(rate_at(curve, level)) for level in LEVELS)]
        for (percent, name), curve in sorted(points.items(), key=lambda entry: entry[0][0])
        if curve
    ]
    text = f"## Filtered search, {count:,} × {dim} ({catalogue.name}): single queries/s at recall@10\n\n"
    text += table(["index and matching share", *(f"{level:.2f}" for level in LEVELS)], rows)
    text += "".join(f"\nLeft out: {name}: {why.splitlines()[-1]}\n" for name, why in left_out.items())
    return {"measured": raw, "left_out": left_out}, text


def _measure(
    entry: Run, catalogue: Catalogue, percent: int, truth: NDArray[np.int64], options: Options
) -> list[dict[str, Any]]:
    options.progress(f"{catalogue.name}: {entry.contender.name} among {percent} %")
    with Child({options.core}) as child:
        child.call(load, entry.contender, entry.build.folder, catalogue.folder)
        return child.call(measure_sweep, searches=entry.contender.searches, percent=percent, truth=truth)


def measure_sweep(
    state: State, searches: Sequence[Settings], percent: int, truth: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Times every setting with the filter of `percent`; runs in a child."""
    catalogue: Catalogue = state["catalogue"]
    allowed = matching(len(catalogue.vectors), percent)
    queries = catalogue.queries[: len(truth)]
    figures = []
    for settings in searches:
        search = state["engine"].filtered_searcher(settings, K, percent, allowed)
        found, seconds, _ = timed(search, queries, "single")
        if (~allowed[found[found >= 0]]).any():
            raise AssertionError(f"{describe(settings)} returned items that the filter excludes")
        figures.append(
            {
                "search": settings,
                "queries": len(queries),
                "seconds": seconds,
                "recall": recall_of(found, truth),
            }
        )
    return figures


def _medians(raw: Sequence[dict[str, Any]], contender: Contender, percent: int) -> list[Point]:
    rounds = [
        entry["settings"]
        for entry in raw
        if entry["engine"] == contender.name and entry["percent"] == percent
    ]
    return [
        Point(
            float(np.median([m["recall"] for m in same])),
            float(np.median([m["queries"] / m["seconds"] for m in same])),
            describe(same[0]["search"]),
        )
        for same in zip(*rounds, strict=True)
    ]
