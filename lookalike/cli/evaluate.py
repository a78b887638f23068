"""``lookalike evaluate``: how well and how fast a running installation finds a catalogue's products."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lookalike.addresses import DEFAULT_GATEWAY
from lookalike.catalog import read_catalog
from lookalike.cli.console import note, print_json, progress, stdout
from lookalike.cli.options import DEFAULT_COLLECTION, CatalogFile, CollectionName, Gateway


def evaluate(
    catalog: CatalogFile,
    collection: CollectionName = DEFAULT_COLLECTION,
    gateway: Gateway = DEFAULT_GATEWAY,
    k: Annotated[int, typer.Option("-k", "--k", min=10, max=999, help="Depth of the rankings.")] = 10,
    concurrency: Annotated[
        int, typer.Option(min=1, max=64, help="Queries under way at the same time; latencies are taken so.")
    ] = 2,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here; - is stdout.")
    ] = None,
) -> None:
    """Search for the rows whose split is query or both, through codes and by brute force, and measure.

    The collection must hold the rows with split index or both: run `lookalike index` first.
    """
    from lookalike.cli.evaluation import evaluate_catalog
    from lookalike.client import Client

    rows = read_catalog(catalog)
    with Client(gateway) as client, progress("Searching") as update:
        evaluation = evaluate_catalog(client, rows, collection, k=k, concurrency=concurrency, update=update)
    figures = evaluation.figures
    if json_file == Path("-"):
        print_json(figures)
        return
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n")
        note(f"Written: {json_file}")
    _print_figures(figures)


def _print_figures(figures: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in _flat(figures):
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    stdout.print(table)


def _flat(figures: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in figures.items():
        path = f"{prefix}{name}"
        found += _flat(value, f"{path} ") if isinstance(value, dict) else [(path, value)]
    return found
