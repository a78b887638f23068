"""Pictures of what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.service.subjects import Measured

__all__ = ["plot_compared", "plot_loads"]

COLOURS = {"gateway": "#00897b", "hasher": "#5c6bc0", "embedder": "#f57c00"}
OTHER = "#8d6e63"


def plot_loads(measured: Sequence[Measured], title: str, file: Path) -> None:
    """Draws latency by load for each kind of search.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    figure, panels = _panels(2, (11, 4.6))
    from matplotlib import ticker

    for number, name in enumerate(dict.fromkeys(one.subject for one in measured)):
        own = [one for one in measured if one.subject == name and one.asked_per_second is not None]
        for panel, percentile in zip(panels, ("p50", "p99"), strict=True):
            with_answers = [one for one in own if one.found.latency_us]
            shares = [float(one.load.rstrip("%")) for one in with_answers]
            times = [one.found.latency_us[percentile] / 1e3 for one in with_answers]
            panel.plot(shares, times, marker="o", markersize=4, color=f"C{number}", label=name)
    for panel, percentile in zip(panels, ("p50", "p99"), strict=True):
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        panel.yaxis.set_minor_formatter(ticker.NullFormatter())
        panel.grid(True, which="both", alpha=0.25)
        panel.set_title(f"{percentile} of the answered")
        panel.set_xlabel("load, % of what is answered at most")
        panel.set_ylabel("ms from the moment a search was due")
    panels[0].legend(fontsize=8)
    _save(figure, title, file)


def plot_compared(rows: Mapping[str, Mapping[str, Any]], title: str, file: Path) -> None:
    """Draws the CPU of a search by server, processes on top of each other.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    figure, (panel,) = _panels(1, (8, 0.55 * len(rows) + 1.4))
    labelled = set()
    for place, row in enumerate(list(rows.values())[::-1]):
        left = 0.0
        for process, cost in row["processes"].items():
            kind = process.split("-")[0]
            label = kind if kind in COLOURS and kind not in labelled else None
            labelled.add(kind)
            colour = COLOURS.get(kind, OTHER)
            panel.barh(place, cost, left=left, color=colour, label=label, edgecolor="white", height=0.65)
            left += cost
        panel.text(left, place, f" {left:.2f}", va="center", fontsize=9)
    panel.set_yticks(range(len(rows)), list(rows)[::-1])
    panel.set_xlabel("CPU of all its processes, ms a search")
    panel.set_xlim(right=1.12 * max(sum(row["processes"].values()) for row in rows.values()))
    panel.grid(True, axis="x", alpha=0.25)
    panel.legend(fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(COLOURS))
    _save(figure, title, file)


def _panels(count: int, size: tuple[float, float]) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, count, figsize=size, squeeze=False)
    return figure, panels[0]


def _save(figure: Any, title: str, file: Path) -> None:
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
