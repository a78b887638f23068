"""``lookalike search``: the products nearest to a photo, a vector or a stored item."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from lookalike.addresses import DEFAULT_GATEWAY
from lookalike.catalogue.catalog import LEVELS
from lookalike.cli.console import counted, note, plain, print_json, stdout
from lookalike.cli.filtering import Categories, Where, parse_filter
from lookalike.cli.options import (
    DEFAULT_COLLECTION,
    AsJson,
    CollectionName,
    Gateway,
    Timeout,
)
from lookalike.errors import InvalidInputError

if TYPE_CHECKING:
    from lookalike.client import SearchResult


def search(
    image: Annotated[Path | None, typer.Option(help="Photo to search for: JPEG, PNG or WebP.")] = None,
    item_id: Annotated[str | None, typer.Option(help="Stored item to search for.")] = None,
    embedding: Annotated[
        Path | None, typer.Option(help="Vector to search for: a .npy or .json file of numbers.")
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="How many hits, 1 to 1000.")] = 10,
    collection: CollectionName = DEFAULT_COLLECTION,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every stored vector.")] = False,
    items: Annotated[bool, typer.Option("--items", help="Every item, not one hit for each product.")] = False,
    probes: Annotated[int | None, typer.Option(help="Buckets visited for each hash table.")] = None,
    effort: Annotated[
        float | None, typer.Option(help="How hard to look, 0 (fast) to 1 (thorough); in place of --probes.")
    ] = None,
    where: Where = None,
    in_category: Categories = None,
    min_score: Annotated[float | None, typer.Option(help="Lowest cosine similarity, -1 to 1.")] = None,
    min_coverage: Annotated[
        float | None,
        typer.Option(help="Share of the shards that must answer, 0 to 1; default: 1, all."),
    ] = None,
    gateway: Gateway = DEFAULT_GATEWAY,
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Find the listings of the same product."""
    from lookalike.client import Client

    vector = _read_vector(embedding) if embedding else None
    filter = parse_filter(where or (), in_category or ())
    with Client(gateway, timeout_seconds=timeout) as client:
        result = client.search(
            image=image,
            item_id=item_id,
            embedding=vector,
            k=k,
            collection=collection,
            exact=exact,
            group_by_product=not items,
            probes=probes,
            effort=effort,
            filter=filter,
            min_score=min_score,
            min_coverage=min_coverage,
        )
    if as_json:
        print_json(asdict(result))
    else:
        _print_table(result)


def _read_vector(file: Path) -> Any:
    """Reads a vector file; what is in it is the server's to judge."""
    import numpy as np

    try:
        if file.suffix == ".npy":
            return np.load(file, allow_pickle=False)
        if file.suffix == ".json":
            return json.loads(file.read_text())
    except OSError as error:
        raise InvalidInputError(f"cannot read {file}: {error.strerror}", field="query.embedding") from None
    except ValueError:
        raise InvalidInputError(f"{file} holds no vector that can be read", field="query.embedding") from None
    raise InvalidInputError(f"{file} must be a .npy or a .json file", field="query.embedding")


def _print_table(result: SearchResult) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("score", justify="right")
    for name in ("product", "item", "title", "category"):
        table.add_column(name, overflow="fold")
    for rank, hit in enumerate(result.hits, start=1):
        texts = (hit.product_id, hit.item_id, hit.title, " / ".join(hit.category))
        table.add_row(str(rank), f"{hit.score:.4f}", *(Text(plain(text)) for text in texts))
    stdout.print(table)
    for level in LEVELS:
        best = next((p for p in result.predicted_categories if p.level == level), None)
        if best:
            note(f"predicted {level}: {plain(' / '.join(best.category))} ({best.probability:.0%})")
    coverage = result.coverage
    note(
        f"{counted(len(result.hits), 'hit')} in {result.timing.total_seconds * 1000:.1f} ms;"
        f" {coverage.codes_scanned:,} of {coverage.codes_total:,} codes scanned,"
        f" {coverage.shards_answered} of {coverage.shards_total} shards answered"
    )
