"""Filters and effort through real processes, against looking at every stored item."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.client import (
    Client,
    Equals,
    Filter,
    In,
    InCategory,
    Item,
    Range,
    Search,
    SearchResult,
    StoredItem,
    code_of,
)
from lookalike.errors import LookalikeError, Reason
from tests.hasher import oracle

if TYPE_CHECKING:
    from conftest import Stack

Cli = Callable[..., subprocess.CompletedProcess[str]]
DIMENSION = 1280


@pytest.fixture(scope="module")
def client(stack: Stack, items: list[Item]) -> Iterator[Client]:
    """A client of an installation whose `shop` holds the catalogue, with a made-up price and colour."""
    rng = np.random.default_rng(2)
    priced = []
    for i, item in enumerate(items):
        attributes = {**item.attributes, "price": f"{i % 40}.50", "colour": ["red", "blue"][i % 2]}
        priced.append(
            Item(
                item_id=item.item_id,
                product_id=item.product_id,
                category=item.category,
                attributes=attributes,
                embedding=rng.normal(size=DIMENSION).astype(np.float32),
            )
        )
    with stack.client() as connected:
        connected.create_collection("shop")
        report = connected.ingest(priced, collection="shop")
        assert report.acknowledged_count == len(items)
        yield connected


@pytest.fixture(scope="module")
def stored(client: Client, items: list[Item]) -> list[StoredItem]:
    ids = [item.item_id for item in items]
    return list(client.get(ids, collection="shop", include_embeddings=True).items)


@pytest.fixture(scope="module")
def filters(stored: list[StoredItem]) -> list[Filter]:
    """Filters by the commonest category of each level, by price and by colour; some let nothing pass."""
    common = [
        Counter(item.category[: level + 1] for item in stored).most_common(1)[0][0] for level in range(3)
    ]
    red, cheap = Equals("colour", "red"), Range("price", max=9.5)
    return [
        Filter(),
        *(Filter(all=(InCategory(tuple(path)),)) for path in common),
        Filter(all=(red, cheap)),
        Filter(none=(red,), any=(cheap, InCategory(tuple(common[0])))),
        Filter(all=(In("price", ("3.50", "7.50")),)),
        Filter(all=(InCategory((" > ".join(common[2]),)),)),
        Filter(all=(Equals("no such attribute", "x"),)),
        Filter(all=(Range("colour", 0, 1),)),
    ]


def brute_force(
    stored: list[StoredItem], filter: Filter, query: NDArray[np.float32], k: int, group: bool
) -> list[tuple[str, float]]:
    """The best products' (or items') ids and scores."""
    best: dict[str, tuple[str, float]] = {}
    for row in stored:
        if oracle.passes(filter, row.category, row.attributes):
            assert row.embedding is not None
            score = float(row.embedding @ query)
            key = row.product_id if group else row.item_id
            if key not in best or score > best[key][1]:
                best[key] = (row.item_id, score)
    return sorted(best.values(), key=lambda entry: -entry[1])[:k]


def _check(result: SearchResult, expected: list[tuple[str, float]]) -> None:
    assert [hit.item_id for hit in result.hits] == [item_id for item_id, _ in expected]
    assert np.allclose([hit.score for hit in result.hits], [score for _, score in expected], atol=1e-5)


@pytest.mark.parametrize("group", [True, False])
def test_filtered_search_equals_brute_force(
    client: Client, stored: list[StoredItem], filters: list[Filter], group: bool
) -> None:
    query = np.random.default_rng(3).normal(size=DIMENSION).astype(np.float32)
    query /= np.linalg.norm(query)
    sizes = []
    for filter in filters:
        expected = brute_force(stored, filter, query, 10, group)
        search = Search(
            embedding=query, k=10, collection="shop", filter=filter, group_by_product=group, exact=True
        )
        (result,) = client.multi_search([search])
        assert isinstance(result, SearchResult)
        _check(result, expected)
        sizes.append(len(expected))
    assert sizes[0] == 10
    assert sizes[-3:] == [0, 0, 0]


def test_hashed_filtered_search_finds_items_that_pass(
    client: Client, stored: list[StoredItem], filters: list[Filter]
) -> None:
    for filter in filters:
        passing = {row.item_id for row in stored if oracle.passes(filter, row.category, row.attributes)}
        for effort in (0.0, 0.5, 1.0):
            found = client.search(
                embedding=np.ones(DIMENSION), k=1000, collection="shop", filter=filter, effort=effort,
                group_by_product=False,
            )  # fmt: skip
            assert {hit.item_id for hit in found.hits} == passing


def test_search_by_item_leaves_it_out_and_filters(client: Client, stored: list[StoredItem]) -> None:
    red = Filter(all=(Equals("colour", "red"),))
    for row in stored[:6]:
        others = [other for other in stored if other.item_id != row.item_id]
        assert row.embedding is not None
        result = client.search(item_id=row.item_id, k=10, collection="shop", filter=red, exact=True)
        _check(result, brute_force(others, red, row.embedding, 10, group=True))


def test_filters_follow_an_update(client: Client, stored: list[StoredItem]) -> None:
    mine = Equals("owner", "me")
    vector = np.ones(DIMENSION)
    assert client.search(embedding=vector, collection="shop", filter=mine).hits == ()
    client.upsert([Item(item_id="extra", embedding=vector, attributes={"owner": "me"})], collection="shop")
    (hit,) = client.search(embedding=vector, collection="shop", filter=mine).hits
    assert (hit.item_id, hit.attributes) == ("extra", {"owner": "me"})
    client.upsert([Item(item_id="extra", embedding=vector, attributes={"owner": "you"})], collection="shop")
    assert client.search(embedding=vector, collection="shop", filter=mine).hits == ()
    client.delete(["extra"], collection="shop")
    assert client.search(embedding=vector, collection="shop", filter=Equals("owner", "you")).hits == ()


def test_a_bad_filter_names_its_field(client: Client) -> None:
    bad = {
        "filter.all[0].in_category": Filter(all=(InCategory(("a", "b", "c", "d")),)),
        "filter.any[1].in.values": Filter(any=(Equals("a", "b"), In("a", ("x",) * 1001))),
        "filter.none[0].equals.name": Filter(none=(Equals("x" * 65, "b"),)),
    }
    for field, filter in bad.items():
        with pytest.raises(LookalikeError) as caught:
            client.search(embedding=np.ones(DIMENSION), collection="shop", filter=filter)
        assert (code_of(caught.value).name, caught.value.field) == ("INVALID_ARGUMENT", field)
    with pytest.raises(LookalikeError) as caught:
        client.search(embedding=np.ones(DIMENSION), collection="shop", effort=1.5)
    assert (caught.value.reason, caught.value.field) == (Reason.FIELD_OUT_OF_RANGE, "effort")


def test_filters_through_the_command_line(
    client: Client, stored: list[StoredItem], stack: Stack, run_cli: Cli
) -> None:
    row = stored[0]
    path = " > ".join(row.category)
    outcome = run_cli(
        "search", "--gateway", stack.gateway.target, "--collection", "shop", "--item-id", row.item_id,
        "--where", "colour=red", "--where", "colour=blue", "--where", "price<=30", "--in-category", path,
        "-k", "50", "--items", "--effort", "1", "--json",
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    found = {hit["item_id"] for hit in json.loads(outcome.stdout)["hits"]}
    assert found == {
        other.item_id
        for other in stored[1:]
        if other.category == row.category and float(other.attributes["price"]) <= 30
    }


def test_filters_are_there_after_a_crash(client: Client, stack: Stack, stored: list[StoredItem]) -> None:
    red = Equals("colour", "red")
    options = {"embedding": np.ones(DIMENSION), "k": 1000, "collection": "shop", "filter": red}
    before = client.search(**options, group_by_product=False, exact=True).hits
    assert len(before) == sum(row.attributes["colour"] == "red" for row in stored)
    for hasher in stack.hashers:
        hasher.kill()
        hasher.start()
    stack.wait_until_ready()
    assert client.count(collection="shop") == len(stored)  # tried again until every shard answers
    assert client.search(**options, group_by_product=False, exact=True).hits == before
