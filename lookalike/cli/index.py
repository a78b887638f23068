"""``lookalike index``: loads a catalogue into a collection through the public API."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.addresses import DEFAULT_GATEWAY
from lookalike.catalogue.catalog import Catalog
from lookalike.cli.catalogs import CatalogFormat, Format, open_catalog
from lookalike.cli.console import Update, counted, note, plain, print_json, progress
from lookalike.cli.options import (
    DEFAULT_COLLECTION,
    AsJson,
    CatalogFile,
    CollectionName,
    Gateway,
)
from lookalike.errors import InvalidInputError, NotFoundError, Reason

if TYPE_CHECKING:
    from lookalike.client import Client, IngestProgress, IngestReport, Item

_FAILURES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Indexed:
    """The outcome of loading a catalogue: the report of the load, and how long it took."""

    report: IngestReport
    seconds: float
    item_count: int
    """Items in the collection afterwards."""

    @property
    def items_per_second(self) -> float:
        """Durable items per second."""
        return self.report.acknowledged_count / max(self.seconds, 1e-9)


def index(
    catalog: CatalogFile,
    collection: CollectionName = DEFAULT_COLLECTION,
    gateway: Gateway = DEFAULT_GATEWAY,
    catalog_format: Format = CatalogFormat.CSV,
    in_flight: Annotated[int, typer.Option(min=1, max=16, help="Batches sent and not yet answered.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Load a catalogue: the rows whose split is index or both. Loading it again changes nothing."""
    from lookalike.client import Client

    rows = open_catalog(catalog, catalog_format)
    with Client(gateway) as client, progress("Indexing") as update:
        indexed = index_catalog(client, rows, collection, in_flight=in_flight, update=update)
    failures = indexed.report.failures
    if as_json:
        print_json(
            {
                "collection": collection,
                "indexed": indexed.report.acknowledged_count,
                "failed": [
                    {
                        "item_id": failure.item_id,
                        "reason": failure.error.reason,
                        "message": failure.error.message,
                    }
                    for failure in failures
                    if failure.error
                ],
                "item_count": indexed.item_count,
                "seconds": round(indexed.seconds, 3),
                "items_per_second": round(indexed.items_per_second, 1),
            }
        )
    else:
        note(
            f"Indexed {counted(indexed.report.acknowledged_count, 'item')} in {indexed.seconds:.1f} s"
            f" ({indexed.items_per_second:,.0f} items/s); {collection} now has {indexed.item_count:,}."
        )
    report_failures(indexed.report)
    if failures:
        raise typer.Exit(1)


def index_catalog(
    client: Client, catalog: Catalog, collection: str, *, in_flight: int = 3, update: Update
) -> Indexed:
    """Loads the rows with split ``index`` or ``both``; creates the collection if it is missing.

    Raises:
        InvalidInputError: No row is to be indexed.
        LookalikeError: The load ended before all was written.
    """
    total = len(catalog.index_items())
    if not total:
        raise InvalidInputError(
            "the catalogue has nothing to index: no row's split names index or both",
            reason=Reason.CATALOG_INVALID,
            field="split",
        )
    try:
        client.get_collection(collection)
    except NotFoundError:
        client.create_collection(collection)

    def on_progress(state: IngestProgress) -> None:
        update(state.acknowledged_count + state.failed_count, total)

    start = time.monotonic()
    report = client.ingest(
        catalog_items(catalog), collection=collection, max_in_flight=in_flight, on_progress=on_progress
    )
    seconds = time.monotonic() - start
    return Indexed(report, seconds, client.count(collection=collection))


def catalog_items(catalog: Catalog) -> Iterator[Item]:
    """Yields the rows to index as items of the client; photos are read when they are sent."""
    from lookalike.client import Item

    for row in catalog.index_items():
        yield Item(
            item_id=row.item_id,
            product_id=row.product_id,
            title=row.title,
            category=row.categories,
            attributes=row.attributes,
            image_uri=os.path.relpath(row.image_path, catalog.root),
            image=row.image_path,
        )


def report_failures(report: IngestReport) -> None:
    """Prints the refused items, one line each, up to a limit."""
    for failure in report.failures[:_FAILURES_SHOWN]:
        if failure.error:
            note(f"failed: {plain(failure.item_id)}: {plain(failure.error.message)} ({failure.error.reason})")
    if len(report.failures) > _FAILURES_SHOWN:
        note(f"... and {len(report.failures) - _FAILURES_SHOWN:,} more failed")
