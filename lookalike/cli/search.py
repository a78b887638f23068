"""``lookalike search``: the products nearest to a photo, a vector or a stored item."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from lookalike.addresses import DEFAULT_GATEWAY
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


class Level(StrEnum):
    """Levels of the category tree."""

    META = "meta"
    LEVEL2 = "level2"
    LEAF = "leaf"


class GateMode(StrEnum):
    """What a gate does."""

    BOOST = "boost"
    NARROW = "narrow"


ImageOption = Annotated[Path | None, typer.Option(help="Photo to search for: JPEG, PNG or WebP.")]
ItemIdOption = Annotated[str | None, typer.Option(help="Stored item to search for.")]
EmbeddingOption = Annotated[
    Path | None, typer.Option(help="Vector to search for: a .npy or .json file of numbers.")
]
KOption = Annotated[int, typer.Option("-k", "--k", help="How many hits, 1 to 1000.")]
ExactOption = Annotated[bool, typer.Option("--exact", help="Compare with every stored vector.")]
ItemsOption = Annotated[bool, typer.Option("--items", help="Every item, not one hit for each product.")]
ProbesOption = Annotated[int | None, typer.Option(help="Buckets visited for each hash table.")]
EffortOption = Annotated[
    float | None, typer.Option(help="How hard to look, 0 (fast) to 1 (thorough); in place of --probes.")
]
CategoryVoteOption = Annotated[
    bool, typer.Option("--category-vote", help="The nearest labelled items vote on the category.")
]
CategoryGateOption = Annotated[
    Level | None, typer.Option(help="Look by the predicted categories of this level.")
]
GateModeOption = Annotated[
    GateMode, typer.Option(help="Of --category-gate: boost prefers these categories, narrow finds no others.")
]
GateMassOption = Annotated[
    float | None, typer.Option(help="Of narrow: how probable these categories are together; default: 0.95.")
]
MinScoreOption = Annotated[float | None, typer.Option(help="Lowest cosine similarity, -1 to 1.")]
MinMatchProbabilityOption = Annotated[
    float | None,
    typer.Option(help="Lowest probability of the same product, 0 to 1; no hit says that it is not there."),
]
MinCoverageOption = Annotated[
    float | None, typer.Option(help="Share of the shards that must answer, 0 to 1; default: 1, all.")
]


def search(
    image: ImageOption = None,
    item_id: ItemIdOption = None,
    embedding: EmbeddingOption = None,
    k: KOption = 10,
    collection: CollectionName = DEFAULT_COLLECTION,
    exact: ExactOption = False,
    items: ItemsOption = False,
    probes: ProbesOption = None,
    effort: EffortOption = None,
    where: Where = None,
    in_category: Categories = None,
    category_vote: CategoryVoteOption = False,
    category_gate: CategoryGateOption = None,
    gate_mode: GateModeOption = GateMode.BOOST,
    gate_mass: GateMassOption = None,
    min_score: MinScoreOption = None,
    min_match_probability: MinMatchProbabilityOption = None,
    min_coverage: MinCoverageOption = None,
    gateway: Gateway = DEFAULT_GATEWAY,
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Find the listings of the same product."""
    from lookalike.client import CategoryGate, Client

    gate = CategoryGate(category_gate, gate_mode, gate_mass) if category_gate else None
    if not gate and (gate_mode is not GateMode.BOOST or gate_mass is not None):
        raise InvalidInputError(
            "--gate-mode and --gate-mass are read only with --category-gate", field="category_gate"
        )
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
            category_vote=category_vote,
            category_gate=gate,
            min_score=min_score,
            min_match_probability=min_match_probability,
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
    is_calibrated = bool(result.match_calibration_version)
    if is_calibrated:
        table.add_column("match", justify="right")
    for name in ("product", "item", "title", "category"):
        table.add_column(name, overflow="fold")
    for rank, hit in enumerate(result.hits, start=1):
        texts = (hit.product_id, hit.item_id, hit.title, " / ".join(hit.category))
        match = [f"{hit.match_probability or 0:.0%}"] if is_calibrated else []
        table.add_row(str(rank), f"{hit.score:.4f}", *match, *(Text(plain(text)) for text in texts))
    stdout.print(table)
    for one in result.predicted_categories:
        if one.category == result.predicted_category[: len(one.category)]:
            note(f"predicted {one.level}: {plain(' / '.join(one.category))} ({one.probability:.0%})")
    if result.gated_categories:
        names = (f"{plain(' / '.join(one.category))}" for one in result.gated_categories)
        note(f"looked by category: {', '.join(names)}")
    coverage = result.coverage
    note(
        f"{counted(len(result.hits), 'hit')} in {result.timing.total_seconds * 1000:.1f} ms;"
        f" {coverage.codes_scanned:,} of {coverage.codes_total:,} codes scanned,"
        f" {coverage.shards_answered} of {coverage.shards_total} shards answered"
    )
