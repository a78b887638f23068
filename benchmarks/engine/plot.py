"""The recall-against-queries/s picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.engine.catalogue import Catalogue
from benchmarks.engine.curves import Plan, Run
from benchmarks.engine.levels import front
from benchmarks.engine.report import by_engine

__all__ = ["plot_curves"]


def plot_curves(catalogue: Catalogue, runs: Sequence[Run], plan: Plan, file: Path) -> None:
    """Draws the Pareto front of each engine, a panel for single queries and one for batches.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    count, dim = catalogue.vectors.shape
    figure, panels = pyplot.subplots(
        1, len(plan.modes), figsize=(7 * len(plan.modes), 6.5), sharex=True, sharey=True, squeeze=False
    )
    panels = panels[0]
    for panel, mode in zip(panels, plan.modes, strict=True):
        for number, (engine, indexes) in enumerate(by_engine(runs, mode).items()):
            points = [point for index in indexes for point in index]
            curve = [point for point in front(points) if point.recall >= plan.lowest_recall]
            own = engine.startswith("Lookalike")
            panel.plot(
                [point.recall for point in curve],
                [point.rate for point in curve],
                marker="o" if own else "s^vDP*X<>"[number % 9],
                markersize=4,
                linewidth=2.2 if own else 1.3,
                color=f"C{number}",
                label=engine,
            )
        panel.set_yscale("log")
        panel.grid(True, which="both", alpha=0.25)
        panel.set_title("Single queries" if mode == "single" else "Batches of 1,000")
        panel.set_xlabel("recall@10 of the exact float neighbours")
    panels[0].set_xlim(plan.lowest_recall, 1.0)
    panels[0].set_ylabel("queries per second, one core")
    panels[0].legend(fontsize=9, loc="lower left")
    figure.suptitle(f"{count:,} × {dim} ({catalogue.name})")
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
