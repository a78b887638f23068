"""What was measured as JSON lines, and the tables made of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engine.report import table
from benchmarks.models.levers.data import TO_CHOOSE_BY
from benchmarks.models.levers.settings import BASELINE
from embedder.evaluation.bootstrap import paired_bootstrap

__all__ = ["Line", "append", "choice_table", "data_table", "read"]

Line = dict[str, Any]
"""One model: ``data, lever, seed, settings, key, rows, training_cpu_seconds, images_per_cpu_second``; by the
search's name ``searches`` (means), ``recall@1`` (of each query) and ``products``."""


def read(file: Path) -> dict[str, Line]:
    """Returns the lines of a file by key; what was cut off at the end by a stop is left out."""
    found = {}
    for text in file.read_text().splitlines() if file.is_file() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        found[line["key"]] = line
    return found


def append(file: Path, line: Line) -> None:
    """Adds a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cut_off = file.is_file() and not file.read_bytes().endswith(b"\n") and file.stat().st_size
    with file.open("a") as out:
        out.write(("\n" if cut_off else "") + json.dumps(line) + "\n")


def data_table(lines: Sequence[Line], data: str) -> str:
    """One row for each lever on a catalogue: R@1 and MAR@10 of its searches, against the backbone, and cost.

    The interval is that of R@1 with the queries of a product drawn together, all seeds of a model pooled.
    """
    of = [line for line in lines if line["data"] == data]
    searches = list(of[0]["searches"])
    levers = list(dict.fromkeys(line["lever"] for line in of))
    rows = []
    for lever in levers:
        seeds = [line for line in of if line["lever"] == lever]
        cells = [lever]
        for search in searches:
            cells.append(_spread([line["searches"][search]["recall@1"] for line in seeds]))
            cells.append(_spread([line["searches"][search]["mar@10_capped"] for line in seeds]))
        baseline = [one for one in of if one["lever"] == BASELINE]
        cells += [_against(seeds, baseline, one) for one in searches if not one.startswith(TO_CHOOSE_BY)]
        rate = [line["images_per_cpu_second"]["all"] for line in seeds]
        cells += [f"{max(rate):.0f}", f"{np.mean([line['training_cpu_seconds'] for line in seeds]):.0f}"]
        rows.append(cells)
    header = ["levers"]
    for search in searches:
        header += [f"{search}: R@1", "MAR@10 capped"]
    header += [f"{one}: R@1 against the backbone" for one in searches if not one.startswith(TO_CHOOSE_BY)]
    header += ["images/s", "training, CPU s"]
    return f"## {data}, {of[0]['rows']:,} photos trained on\n\n" + table(header, rows)


def choice_table(lines: Sequence[Line]) -> str:
    """One row for each lever: R@1 of what settings are chosen by on every catalogue; the best mean first."""
    datas = list(dict.fromkeys(line["data"] for line in lines))
    rows = []
    for lever in dict.fromkeys(line["lever"] for line in lines):
        values = [
            [chosen_by(line) for line in lines if line["lever"] == lever and line["data"] == data]
            for data in datas
        ]
        if all(values):
            rows.append((float(np.mean([np.mean(one) for one in values])), lever, values))
    rows.sort(key=lambda row: -row[0])
    cells = [[lever, f"{mean:.3f}", *map(_spread, values)] for mean, lever, values in rows]
    return "## What settings are chosen by: R@1 of rows kept aside\n\n" + table(
        ["levers", "mean", *datas], cells
    )


def chosen_by(line: Line) -> float:
    """Returns the mean R@1 of a model's searches to choose by."""
    searches = line["searches"].items()
    return float(np.mean([means["recall@1"] for name, means in searches if name.startswith(TO_CHOOSE_BY)]))


def _against(seeds: Sequence[Line], baseline: Sequence[Line], search: str) -> str:
    if not baseline or seeds[0]["lever"] == BASELINE:
        return "–"
    values = np.mean([line["recall@1"][search] for line in seeds], axis=0)
    others = np.mean([line["recall@1"][search] for line in baseline], axis=0)
    found = paired_bootstrap(values, others, groups=seeds[0]["products"][search])
    return f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
