"""Pictures for the training report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from embedder.training.callbacks import Figures
from embedder.training.outcome import Outcome

_CLASSES_SHOWN = 15
_NAME_LENGTH = 24


def draw_curves(history: Sequence[Figures], file: Path) -> None:
    """Draws losses, gradient norms and validation figures over the epochs.

    Args:
        history: Each epoch's figures.
        file: The PNG to write.
    """
    panels: dict[str, set[str]] = defaultdict(set)
    for name in {name for figures in history for name in figures} - {"monitor"}:
        panels[_panel(name)].add(name)
    figure = Figure(figsize=(4.5 * max(1, len(panels)), 4.2), layout="constrained")
    parts = figure.subfigures(1, max(1, len(panels)), squeeze=False)[0]
    for part, (title, names) in zip(parts, sorted(panels.items()), strict=False):
        axes = part.add_subplot()
        for name in sorted(names):
            points = [(n, figures[name]) for n, figures in enumerate(history, start=1) if name in figures]
            axes.plot(*zip(*points, strict=True), marker=".", label=name.removeprefix("gradient/"))
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        part.legend(loc="outside lower center", ncols=2, fontsize="x-small")
    figure.savefig(file, dpi=110)


def _panel(name: str) -> str:
    if name.startswith("gradient/"):
        return "gradient norms"
    return "losses" if "loss" in name else "validation"


def confusion(outcome: Outcome, depth: int) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Returns the confusion of a level's largest classes.

    Args:
        outcome: Predictions for labelled rows.
        depth: The level, 0 being the topmost.

    Returns:
        The names of the classes with the most rows, ``other`` being the last; and for each actual class
        but ``other`` the shares of its rows by predicted class, ``(classes - 1, classes)``.
    """
    pairs = [
        (item.categories[: depth + 1], predicted)
        for item, predicted in zip(outcome.items, outcome.predicted(depth), strict=True)
        if len(item.categories) > depth
    ]
    counts = Counter(actual for actual, _ in pairs)
    shown = sorted(sorted(counts), key=lambda path: -counts[path])[:_CLASSES_SHOWN]
    place = {path: number for number, path in enumerate(shown)}
    shares = np.zeros((len(shown), len(shown) + 1))
    for actual, predicted in pairs:
        if actual in place:
            shares[place[actual], place.get(predicted, len(shown))] += 1 / counts[actual]
    return [_short(path[-1]) for path in shown] + ["other"], shares


def draw_confusion(names: Sequence[str], shares: npt.NDArray[np.float64], title: str, file: Path) -> None:
    """Draws what :func:`confusion` returns as a PNG."""
    side = 2.2 + 0.42 * len(names)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(names) - 1), names[:-1], fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    axes.set_title(title)
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            shade = "white" if share > 0.5 else "black"
            axes.text(
                column, row, f"{share:.2f}".lstrip("0"), ha="center", va="center", fontsize=6, color=shade
            )
    figure.colorbar(image, shrink=0.7)
    figure.savefig(file, dpi=110)


def draw_reliability(bins: Mapping[str, Sequence[float]], file: Path) -> None:
    """Draws probabilities against what came true.

    Args:
        bins: As :meth:`embedder.evaluation.reliability.Reliability.as_json` returns them.
        file: The PNG to write.
    """
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    axes.plot(bins["predicted"], bins["observed"], marker="o")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("match_probability of the best hit")
    axes.set_ylabel("share of best hits that are right")
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)


def _short(name: str) -> str:
    # A dollar sign would start a formula.
    name = name.replace("$", r"\$")
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"
