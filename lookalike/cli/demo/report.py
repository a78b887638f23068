"""What the demo found out: the figures, what they must fulfil, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from lookalike.cli.console import note, stdout

MIN_SHARE_OF_EXACT = 0.99
"""MAR@10 through codes and buckets must reach this share of brute force on the same vectors ..."""
MAX_SCANNED = 0.15
"""... while no more than this share of the codes is looked at."""
SMALL_CATALOGUE_ITEMS = 2000
"""Below this there is little to save, and nothing is required: a shard scans at least 100 codes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report."""

    name: str
    value: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Everything the demo measured.

    Attributes:
        figures: As ``lookalike evaluate`` writes them.
        backbone: ``mar@10``, ``mar@10_capped`` and ``recall@1`` of the plain backbone's features.
        item_count: Items in the index.
        ingest_items_per_second: Speed of the load through the public API.
        concurrency: Queries under way at the same time while latencies were taken.
        stage_seconds: Time of each stage by its title.
    """

    figures: Mapping[str, Any]
    backbone: Mapping[str, float]
    item_count: int
    ingest_items_per_second: float
    concurrency: int
    stage_seconds: Mapping[str, float]

    @property
    def small(self) -> bool:
        """Whether the catalogue is too small for codes to save anything."""
        return self.item_count < SMALL_CATALOGUE_ITEMS

    def problems(self) -> list[str]:
        """Returns what the figures should fulfil and do not; a small catalogue is not judged."""
        if self.small:
            return []
        found = []
        share = _share(self.figures["mar@10"], self.figures["exact_mar@10"])
        if share < MIN_SHARE_OF_EXACT:
            found.append(
                f"MAR@10 through codes is {share:.4f} of brute force; {MIN_SHARE_OF_EXACT} is required"
            )
        scanned = self.figures["codes_scanned_fraction"]
        if scanned > MAX_SCANNED:
            found.append(f"{scanned:.1%} of the codes were scanned; at most {MAX_SCANNED:.0%} are allowed")
        return found

    def as_json(self) -> dict[str, Any]:
        """Returns the report for ``report.json``."""
        return {
            **self.figures,
            **{f"backbone_{name}": value for name, value in self.backbone.items()},
            "share_of_exact_mar@10": _share(self.figures["mar@10"], self.figures["exact_mar@10"]),
            "items": self.item_count,
            "ingest_items_per_second": self.ingest_items_per_second,
            "search_concurrency": self.concurrency,
            "stage_seconds": dict(self.stage_seconds),
            "problems": self.problems(),
        }

    def rows(self) -> list[Row]:
        """Returns the report as lines to read."""
        figures, backbone = self.figures, self.backbone
        share = _share(figures["mar@10"], figures["exact_mar@10"])
        scanned_remark = f"at most {MAX_SCANNED:.0%} from {SMALL_CATALOGUE_ITEMS:,} photos on"
        if figures["codes_scanned_fraction"] == 1.0:
            scanned_remark = "small catalogue: brute force"
        latency = figures["latency_ms"]
        rows = [
            Row("Queries", f"{figures['queries']:,}", f"over {self.item_count:,} indexed photos"),
            Row("R@1", f"{figures['recall@1']:.3f}", f"plain backbone {backbone['recall@1']:.3f}"),
            Row("MAR@1", f"{figures['mar@1']:.3f}", "of all right answers, found at rank 1"),
            Row("MAR@10", f"{figures['mar@10']:.3f}", f"plain backbone {backbone['mar@10']:.3f}"),
            Row(
                "MAR@10, capped at 10 right answers",
                f"{figures['mar@10_capped']:.3f}",
                f"plain backbone {backbone['mar@10_capped']:.3f}",
            ),
            Row(
                "MAR@10 by brute force", f"{figures['exact_mar@10']:.3f}", f"through codes {share:.2%} of it"
            ),
            Row("Codes scanned", f"{figures['codes_scanned_fraction']:.1%}", scanned_remark),
        ]
        rows += [
            Row(f"Accuracy, {level}", f"{accuracy['micro']:.3f}", f"macro {accuracy['macro']:.3f}")
            for level, accuracy in figures["accuracy"].items()
            if accuracy
        ]
        return [
            *rows,
            Row(
                "Latency of a search by photo",
                f"{latency['p50']:.0f} / {latency['p95']:.0f} / {latency['p99']:.0f} ms",
                f"p50 / p95 / p99, {self.concurrency} at a time",
            ),
            Row("Search", f"{figures['throughput_qps']:.0f} queries/s", f"{self.concurrency} at a time"),
            Row("Indexing", f"{self.ingest_items_per_second:.0f} photos/s", "through the public API"),
        ]


def _share(found: float, best: float) -> float:
    return found / best if best else 1.0


def print_report(report: DemoReport) -> None:
    """Prints the report, and what it should fulfil and does not."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right", style="bold")
    table.add_column(style="dim")
    for row in report.rows():
        table.add_row(row.name, row.value, row.remark)
    stdout.print()
    stdout.print(table)
    times = "  ".join(f"{title} {seconds:.0f} s" for title, seconds in report.stage_seconds.items())
    note(f"\n{times}  total {sum(report.stage_seconds.values()):.0f} s")
