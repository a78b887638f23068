"""Tables in Markdown: mean and deviation over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.engine.report import table
from benchmarks.models.measure import Measured
from embedder.evaluation.summary import differences

__all__ = ["difference_table", "labelled_table", "search_table"]

Runs = Mapping[str, Sequence[Measured]]
"""By the model's name, one for each seed."""

_SEARCH = {"recall@1": "R@1", "mar@10": "MAR@10", "mar@10_capped": "MAR@10 capped", "map@r": "mAP@R"}
_COMPARED = ("recall@1", "mar@10", "map@r")


def search_table(runs: Runs, search: str) -> str:
    """One line for each model: the figures of a search."""
    rows = [
        [name, *(_spread([run["searches"][search]["means"][figure] for run in seeds]) for figure in _SEARCH)]
        for name, seeds in runs.items()
    ]
    queries = len(next(iter(runs.values()))[0]["searches"][search]["products"])
    return f"### {search}, {queries:,} queries\n\n" + table(["model", *_SEARCH.values()], rows)


def labelled_table(runs: Runs, rows: str) -> str:
    """One line for each model: how well it predicts the categories of some rows.

    First the figures of the predicted path. Then those of the last level where each level's best class is
    taken by itself, and how often these contradict each other; and where training photos vote, too, or alone.
    """
    levels = list(next(iter(runs.values()))[0]["labelled"][rows]["votes"]["accuracy"])
    last = levels[-1]
    header = [
        "model",
        *levels,
        f"{last} macro",
        "LCA height",
        f"{last}, levels apart",
        "violations, apart",
    ]
    header += [f"{last}, with votes", f"{last}, votes alone"]
    lines = []
    for name, seeds in runs.items():
        measured = [run["labelled"][rows] for run in seeds]
        cells = ["–"] * (len(levels) + 5)
        if all("classifier" in one for one in measured):
            paths, apart = ([one[how] for one in measured] for how in ("classifier", "levels apart"))
            cells = [_micro(paths, level) for level in levels]
            cells.append(_spread([one["accuracy"][last]["macro"] for one in paths]))
            heights = [one["lca_height"] for one in paths if one["lca_height"] is not None]
            cells.append(_spread(heights) if heights else "no mistakes")
            cells += [_micro(apart, last), _spread([one["violation_rate"] for one in apart])]
            cells.append(_micro([one["classifier and votes"] for one in measured], last))
        lines.append([name, *cells, _micro([one["votes"] for one in measured], last)])
    return f"### Categories, {rows} rows\n\n" + table(header, lines)


def _micro(measured: Sequence[Measured], level: str) -> str:
    return _spread([one["accuracy"][level]["micro"] for one in measured])


def difference_table(folds: Mapping[str, Sequence[Measured]], search: str, baseline: str) -> str:
    """One line for each model: the pooled figures of all folds, and the difference to the baseline."""
    products = [product for fold in folds[baseline] for product in fold["searches"][search]["products"]]
    pooled = {
        name: {
            figure: np.concatenate([np.array(fold["searches"][search]["queries"][figure]) for fold in parts])
            for figure in _SEARCH
        }
        for name, parts in folds.items()
    }
    rows = []
    for name, values in pooled.items():
        cells = [name, *(f"{np.nanmean(values[figure]):.3f}" for figure in _SEARCH)]
        if name == baseline:
            rows.append([*cells, *("–" for _ in _COMPARED)])
            continue
        found = differences(values, pooled[baseline], products)
        for figure in _COMPARED:
            low, high = found[figure]["interval_by_product"]
            cells.append(f"{found[figure]['difference']:+.3f} ({low:+.3f} to {high:+.3f})")
        rows.append(cells)
    header = ["model", *_SEARCH.values(), *(f"{_SEARCH[one]} against the {baseline}" for one in _COMPARED)]
    return f"### {search}, {len(products)} queries, none of their products trained on\n\n" + table(
        header, rows
    )


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
