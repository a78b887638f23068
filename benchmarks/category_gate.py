"""What predicted categories do to answers: ``python -m benchmarks.category_gate --bundle DIR --catalog CSV``.

One installation (an embedder, a gateway and two hashers as processes of their own) holds the rows of one
split of a catalogue and is asked for those of another by their photos, with every gate, in turns. Costs are
CPU microseconds a search by the kernel's clock of each process, medians over the turns; the embedder's, which
are the same for all, are left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine.report import table
from benchmarks.match_cost import seconds_of
from deploy.local.stack import Stack
from lookalike.catalogue.catalog import CatalogItem, read_catalog
from lookalike.client import CategoryGate, Client, Item, SearchResult

COLLECTION, SHARDS, K = "bench", 2, 10
PLAIN = "no gate"
GATES: Mapping[str, Mapping[str, Any]] = {
    PLAIN: {},
    **{
        f"{mode} {level}{', with votes' if vote else ''}": {
            "category_gate": CategoryGate(level, mode=mode),
            "category_vote": vote,
        }
        for mode in ("boost", "narrow")
        for level in ("meta", "level2", "leaf")
        for vote in (False, True)
    },
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What a gate does to the answers, each figure a mean over the queries.

    Attributes:
        first: Whether the best hit is the right product.
        among_ten: Whether the right product is among the ten best.
        hidden: Whether it is without a gate, and is not with it.
        categories: How many categories were looked in or preferred.
    """

    first: float
    among_ten: float
    hidden: float
    categories: float


def main() -> None:
    """Fills an installation, searches it, prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.category_gate", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="a model with categories")
    parser.add_argument("--catalog", type=Path, required=True)
    parser.add_argument("--indexed", default="train", help="split of the rows that are searched")
    parser.add_argument("--asked", default="query", help="split of the rows that are searched for")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    catalog = read_catalog(options.catalog)
    indexed, asked = catalog.rows(options.indexed), catalog.rows(options.asked)
    flags = {"gateway": ("--recall-probe-interval-seconds=0", "--profile-interval-seconds=0")}
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), options.bundle, SHARDS, flags)
        try:
            stack.start()
            with stack.client() as client:
                _fill(client, indexed)
                products = {item.product_id for item in indexed}
                asked = [item for item in asked if item.product_id in products]
                found = _measured(stack, client, asked, options.rounds)
        finally:
            stack.stop()
    print(f"{len(asked):,} queries among {len(indexed):,} items of {len(products):,} products\n")
    names = list(next(iter(found.values())))
    print(table(["gate", *names], [[gate, *map(_shown, of.values())] for gate, of in found.items()]))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def _fill(client: Client, rows: Sequence[CatalogItem]) -> None:
    client.create_collection(COLLECTION)
    items = (
        Item(
            item_id=row.item_id,
            product_id=row.product_id,
            category=row.categories,
            image=row.image_path.read_bytes(),
        )
        for row in rows
    )
    report = client.ingest(items, collection=COLLECTION)
    assert report.acknowledged_count == len(rows), report.failures[:3]


def _measured(
    stack: Stack, client: Client, asked: Sequence[CatalogItem], rounds: int
) -> dict[str, dict[str, float]]:
    services = {"gateway": [stack.gateway], "hashers": stack.hashers}
    photos = [item.image_path.read_bytes() for item in asked]
    results: dict[str, list[SearchResult]] = {}
    spent: dict[tuple[str, str], list[float]] = defaultdict(list)
    for round_ in range(rounds):
        for gate, how in list(GATES.items())[:: -1 if round_ % 2 else 1]:
            before = seconds_of(services)
            results[gate] = [
                client.search(image=photo, k=K, collection=COLLECTION, **how) for photo in photos
            ]
            for service, seconds in seconds_of(services).items():
                spent[gate, service].append((seconds - before[service]) / len(photos) * 1e6)
    right = [item.product_id for item in asked]
    found = {}
    for gate in GATES:
        answers = _answers(results[gate], results[PLAIN], right)
        found[gate] = {
            "R@1": answers.first,
            "among 10": answers.among_ten,
            "hidden": answers.hidden,
            "categories": answers.categories,
            **{f"{service}, µs": statistics.median(spent[gate, service]) for service in services},
        }
    return found


def _answers(results: Sequence[SearchResult], plain: Sequence[SearchResult], right: Sequence[str]) -> Answers:
    products = [[hit.product_id for hit in result.hits] for result in results]
    there = [product in some for product, some in zip(right, products, strict=True)]
    before = [
        product in (hit.product_id for hit in one.hits) for product, one in zip(right, plain, strict=True)
    ]
    return Answers(
        first=statistics.mean(some[:1] == [product] for product, some in zip(right, products, strict=True)),
        among_ten=statistics.mean(there),
        hidden=statistics.mean(was and not now for was, now in zip(before, there, strict=True)),
        categories=statistics.mean(len(result.gated_categories) for result in results),
    )


def _shown(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3f}"


if __name__ == "__main__":
    main()
