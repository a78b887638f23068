"""``lookalike evaluate``: how well, and online how fast, a catalogue's products are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lookalike.addresses import DEFAULT_GATEWAY
from lookalike.catalogue.catalog import Catalog
from lookalike.cli.catalogs import CatalogFormat, Format, SplitByProduct, open_catalog
from lookalike.cli.console import note, plain, print_json, progress, stdout
from lookalike.cli.options import DEFAULT_COLLECTION, CatalogFile, CollectionName, Gateway
from lookalike.errors import InvalidInputError, Reason, UnavailableError
from lookalike.files.disk import writing

_ONLINE = {"gateway": "--gateway", "collection": "--collection", "concurrency": "--concurrency"}
_OFFLINE = {
    "whiten": "--whiten",
    "shrinkage": "--shrinkage",
    "expand": "--expand",
    "rerank": "--rerank",
    "against": "--against",
    "submission": "--submission",
}
_BAD_PHOTOS_SHOWN = 20


def evaluate(
    context: typer.Context,
    catalog: CatalogFile,
    bundle: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Measure this model by itself, without any service.")
    ] = None,
    collection: CollectionName = DEFAULT_COLLECTION,
    gateway: Gateway = DEFAULT_GATEWAY,
    k: Annotated[int, typer.Option("-k", "--k", min=10, max=999, help="Depth of the rankings.")] = 10,
    concurrency: Annotated[
        int, typer.Option(min=1, max=64, help="Queries under way at the same time; latencies are taken so.")
    ] = 2,
    whiten: Annotated[bool, typer.Option("--whiten", help="Whiten vectors, fitted on the index.")] = False,
    shrinkage: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of the whitening: 0 is full, 1 only centres.")
    ] = None,
    expand: Annotated[
        int, typer.Option(min=0, max=100, metavar="N", help="Search again with the first N results added.")
    ] = 0,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Re-rank the first 100 by their mutual neighbours.")
    ] = False,
    against: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Compare with this model on the same queries.")
    ] = None,
    catalog_format: Format = CatalogFormat.CSV,
    split_by_product: SplitByProduct = None,
    submission: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the answers as eProduct takes them.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here; - is stdout.")
    ] = None,
) -> None:
    """Search for the rows whose split is query or both and measure the answers.

    Online, without --bundle: through the running services, by codes and by brute force; the collection
    must hold the rows with split index or both, so run `lookalike index` first. Offline, with --bundle:
    the photos go through the model here and are compared with the whole index; --whiten, --expand and
    --rerank are each measured in addition to the plain search.
    """
    _require_one_mode(context, offline=bundle is not None)
    rows = open_catalog(catalog, catalog_format, split_by_product)
    if bundle:
        if shrinkage is not None and not whiten:
            raise InvalidInputError(
                "--shrinkage is read only with --whiten; give both or neither", reason=Reason.CONFIG_INVALID
            )
        post_processing = {"whiten": whiten, "shrinkage": shrinkage, "expand": expand, "rerank": rerank}
        figures = _offline(rows, bundle, post_processing, k, against, submission)
    else:
        figures = _online(rows, gateway, collection, k, concurrency)
    _show(figures, json_file)


def _require_one_mode(context: typer.Context, *, offline: bool) -> None:
    """Refuses options of the other mode that were typed; one from the environment may stay."""
    typed = {
        name
        for name in (*_ONLINE, *_OFFLINE)
        if (source := context.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
    }
    if offline and (wrong := [option for name, option in _ONLINE.items() if name in typed]):
        text = f"--bundle measures without services and {wrong[0]} with them; give one of the two"
    elif not offline and (wrong := [option for name, option in _OFFLINE.items() if name in typed]):
        text = f"{wrong[0]} is measured without services: give --bundle DIR, the model to measure"
    else:
        return
    raise InvalidInputError(text, reason=Reason.CONFIG_INVALID)


def _online(rows: Catalog, gateway: str, collection: str, k: int, concurrency: int) -> dict[str, Any]:
    from lookalike.cli.measure_online import evaluate_catalog
    from lookalike.client import Client

    try:
        with Client(gateway) as client, progress("Searching") as update:
            return evaluate_catalog(
                client, rows, collection, k=k, concurrency=concurrency, update=update
            ).figures
    except UnavailableError as error:
        if error.reason is Reason.GATEWAY_UNREACHABLE:
            error.message += "; to measure a model without services, give --bundle DIR"
        raise


def _offline(
    rows: Catalog,
    bundle: Path,
    post_processing: dict[str, Any],
    k: int,
    against: Path | None,
    submission: Path | None,
) -> dict[str, Any]:
    from embedder.evaluation.offline import evaluate_bundle
    from embedder.evaluation.retrieval import Options
    from lookalike.catalogue.eproduct import ANSWERS, write_submission

    if submission and len(rows.index_items()) < ANSWERS:
        raise InvalidInputError(
            f"a submission needs {ANSWERS} or more rows in the index", reason=Reason.CATALOG_INVALID
        )
    options = Options(**{name: value for name, value in post_processing.items() if value is not None})
    with progress("Embedding photos") as update:
        measured = evaluate_bundle(rows, bundle, options=options, k=k, baseline=against, update=update)
    bad_photos: dict[str, str] = measured.figures["bad_photos"]
    for item_id, problem in list(bad_photos.items())[:_BAD_PHOTOS_SHOWN]:
        note(f"cannot be read: {item_id}: {plain(problem)}")
    if submission:
        write_submission(submission, measured.answers())
        note(f"Written: {submission}")
    return measured.figures


def _show(figures: dict[str, Any], json_file: Path | None) -> None:
    if json_file == Path("-"):
        print_json(figures)
        return
    if json_file:
        with writing(json_file):
            json_file.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n")
        note(f"Written: {json_file}")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in _flat(figures):
        table.add_row(name, value)
    stdout.print(table)


def _flat(figures: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in figures.items():
        path = f"{prefix}{name}"
        if name == "bad_photos":
            found.append((path, str(len(value))))
        elif isinstance(value, dict) and "interval" in value:
            for drawn in ("interval", "interval_by_product"):
                low, high = value[drawn]
                shown = f"{value['difference']:+.4f} ({low:+.4f} to {high:+.4f})"
                found.append((f"{path} {drawn}", shown))
        elif isinstance(value, dict):
            found += _flat(value, f"{path} ")
        elif isinstance(value, list):
            found.append(
                (path, " ".join(f"{one:.3f}" if isinstance(one, float) else f"{one}" for one in value))
            )
        elif value is not None:
            found.append((path, f"{value:.4f}" if isinstance(value, float) else str(value)))
    return found
