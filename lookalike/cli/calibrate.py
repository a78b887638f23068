"""``lookalike calibrate``: fits a collection's match probabilities to labelled queries."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from lookalike.addresses import DEFAULT_GATEWAY
from lookalike.cli.console import counted, note, print_json, progress, stdout
from lookalike.cli.options import DEFAULT_COLLECTION, AsJson, CollectionName, Gateway
from lookalike.errors import InvalidInputError, Reason

if TYPE_CHECKING:
    from lookalike.client import Client


def calibrate(
    collection: CollectionName = DEFAULT_COLLECTION,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Labelled queries: product_id, and image_path or item_id. An empty product_id: not there.",
        ),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Give the collection the calibration of its model again.")
    ] = False,
    absent_share: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=0.99,
            help="Share of your searches whose product is not there; default: that of the labelled queries,"
            " or 0.5 if all of their products are there.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fit and show, and change nothing.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Queries under way at the same time.")] = 2,
    gateway: Gateway = DEFAULT_GATEWAY,
    as_json: AsJson = False,
) -> None:
    """Fit a collection's match probabilities to labelled queries, and use them from now on.

    Every query is searched for; what its hits should have been is known. A query whose photo is in the
    collection itself says nothing: give its item_id. The figures after are of calibrations that were fitted
    to queries for other products.
    """
    from lookalike.client import Client

    if reset == bool(pairs):
        raise InvalidInputError("give --pairs CSV or --reset", reason=Reason.CONFIG_INVALID, field="--pairs")
    with Client(gateway) as client:
        if pairs is None:
            client.set_match_calibration(collection, None)
            note(f"{collection} has the match probabilities of its model again.")
            return
        report = _calibrate(client, collection, pairs, absent_share, concurrency, dry_run)
    if as_json:
        print_json(report)
    else:
        _show(report)


def _calibrate(
    client: Client,
    collection: str,
    pairs: Path,
    absent_share: float | None,
    concurrency: int,
    dry_run: bool,
) -> dict[str, Any]:
    from embedder.evaluation.calibration import ABSENT_SHARE, fit_calibration, held_out_best_hits
    from embedder.evaluation.reliability import match_figures
    from lookalike.catalogue.pairs import read_pairs
    from lookalike.cli.product_ranking import ask_products

    queries = read_pairs(pairs)
    before = client.get_collection(collection).match_calibration_in_use
    with progress("Searching") as update:
        answers = ask_products(client, queries, collection, concurrency=concurrency, update=update)
    share = absent_share or answers.absent_share or ABSENT_SHARE
    present, absent = answers.present, answers.absent
    calibration = fit_calibration(present.rankings, absent.rankings, share)
    held_out = held_out_best_hits(present.rankings, absent.rankings, (present.folds, absent.folds), share)
    if not dry_run:
        client.set_match_calibration(collection, calibration, model_version=answers.model_version)
    return {
        "collection": collection,
        "queries": len(queries),
        "calibration": {**asdict(calibration), "version": calibration.version},
        "before": answers.served_figures(before, share) if before else None,
        "after": match_figures(*held_out, share),
        "stored": not dry_run,
    }


def _show(report: dict[str, Any]) -> None:
    table = Table("", "before", "after", box=None, header_style="bold", pad_edge=False)
    sides = report["before"], report["after"]
    table.add_row("expected calibration error", *(f"{side['ece']:.3f}" if side else "–" for side in sides))
    for threshold in report["after"]["not_here"]:
        cells = [_precision(side["not_here"][threshold]) if side else "–" for side in sides]
        table.add_row(f'"not here" below {threshold}: precision, recall', *cells)
    stdout.print(table)
    version, count = report["calibration"]["version"], counted(report["queries"], "labelled pair")
    if report["stored"]:
        note(f"{report['collection']} has calibration {version} now, fitted to {count}.")
    else:
        note(f"Nothing was changed: --dry-run fitted calibration {version} to {count}.")


def _precision(one: dict[str, float | None]) -> str:
    precision = "–" if one["precision"] is None else f"{one['precision']:.3f}"
    return f"{precision}, {one['recall']:.3f}"
