"""Draws plots of committed tables: ``python -m scripts.docs_plots``, after a table has changed.

Each picture carries its figures as JSON, by which a test sees that it shows what the table says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parents[1] / "docs"
IMAGES = DOCS / "images"
_COLOURS = ("#00897b", "#5c6bc0", "#f57c00", "#8d6e63")

Series = dict[str, dict[str, float]]
"""Values by place on the axis, by name of the series."""


def _table(page: str, after: str) -> list[list[str]]:
    """Returns the cells of the first table after a text; its header is the first row."""
    text = (DOCS / page).read_text().split(after, 1)[1]
    found = re.search(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert found, f"no table after {after!r} in {page}"
    rows = [[cell.strip(" *`") for cell in row.strip("|").split("|")] for row in found[0].splitlines()]
    return [rows[0], *rows[2:]]


def _value(cell: str) -> float:
    return float(cell.split()[0].replace(",", ""))


def models_quoted() -> Series:
    """Returns R@1 of the models to quote."""
    rows = [row for row in _table("benchmarks/models.md", "## Results to quote")[1:6] if "free" not in row[1]]
    names = ("plain backbone", "whitened\nwithin products", "trained, frozen", "fine-tuned")
    return {
        "photo → 81 studio pictures": dict(zip(names, (_value(row[2]) for row in rows), strict=True)),
        "photo → 2,640 photos": dict(zip(names, (_value(row[4]) for row in rows), strict=True)),
    }


def models_share() -> Series:
    """Returns R@1 by how far fine-tuning goes."""
    header, *rows = _table("benchmarks/models.md", "## Results, fine-tuned")
    columns = {
        "photo → studio, kept aside": "val, photo → studio: R@1",
        "photo → studio, test": "photo → studio: R@1",
        "photo → photo, test": "photo → photo: R@1",
    }
    return {
        name: {row[0].split(":")[0]: _value(row[header.index(column)]) for row in rows}
        for name, column in columns.items()
    }


def embedder_batches() -> Series:
    """Returns images a second by batch size."""
    header, *rows = _table("benchmarks/embedder.md", "The network, images/s (above)")
    wanted = ("OpenVINO, bfloat16", "ONNX Runtime, int8", "ONNX Runtime, float32", "Triton")
    found = {row[0]: dict(zip(header[1:], map(_value, row[1:]), strict=True)) for row in rows}
    return {name: found[name] for name in wanted}


def _bars(axes: Axes, series: Series) -> None:
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        places = [place + number * width for place in range(len(values))]
        bars = axes.bar(places, list(values.values()), width, label=name, color=_COLOURS[number])
        axes.bar_label(bars, fmt="%.2f", fontsize=8)
        axes.set_xticks([place + 0.4 - width / 2 for place in range(len(values))], list(values))
    axes.set_ylim(0, 1)


def _lines(axes: Axes, series: Series) -> None:
    for number, (name, values) in enumerate(series.items()):
        axes.plot(list(values), list(values.values()), "o-", label=name, color=_COLOURS[number])


PLOTS: dict[str, tuple[Callable[[], Series], Callable[[Axes, Series], None], str, str]] = {
    "models-quoted": (models_quoted, _bars, "", "R@1"),
    "models-share": (models_share, _lines, "share of the way that fine-tuning goes", "R@1"),
    "embedder-batches": (embedder_batches, _lines, "photos in a batch", "images/s"),
}


def main() -> None:
    """Draws all plots into the folder of images."""
    mpl.rcParams.update({"svg.hashsalt": "lookalike", "svg.fonttype": "none", "font.size": 9})
    for name, (read, draw, x_label, y_label) in PLOTS.items():
        series = read()
        figure = Figure(figsize=(7, 3.4), layout="constrained")
        axes = figure.subplots()
        draw(axes, series)
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
        axes.legend(frameon=False)
        metadata = {"Date": None, "Description": json.dumps(series)}
        figure.savefig(IMAGES / f"{name}.svg", metadata=metadata)


if __name__ == "__main__":
    main()
