"""Searches that ask for a vote on the category, or to be sent to probable ones, through a real server."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

from gateway.categories.gate import MOST_CATEGORIES
from lookalike.errors import UnavailableError
from lookalike.v1 import catalog_pb2, collection_pb2, search_pb2, types_pb2
from lookalike.wire.status import error_from_status
from tests.gateway.searches import (
    CODE,
    EMBEDDING,
    IMAGE,
    details_of,
    in_category,
    photo_query,
    photos_query,
    search_request,
)

if TYPE_CHECKING:
    from conftest import Gateway

META, LEVEL2, LEAF = 1, 2, 3
BOOST, NARROW = search_pb2.CATEGORY_GATE_MODE_BOOST, search_pb2.CATEGORY_GATE_MODE_NARROW
Path = tuple[str, ...]
QUERY = np.full(8, math.sqrt(1 / 8))
ASIDE = np.array([1, -1, 1, -1, 1, -1, 1, -1]) * math.sqrt(1 / 8)


def item(name: str, cosine: float, category: Path = (), product: str = "") -> catalog_pb2.UpsertItem:
    """An item that is so similar to the vector that :data:`EMBEDDING` asks for."""
    values = cosine * QUERY + math.sqrt(1 - cosine**2) * ASIDE
    described = types_pb2.Item(
        item_id=name, product_id=product, category=types_pb2.CategoryPath(names=category)
    )
    return catalog_pb2.UpsertItem(item=described, embedding=types_pb2.Embedding(values=values))


async def fill(gateway: Gateway, *items: catalog_pb2.UpsertItem) -> None:
    await gateway.create()
    if items:
        await gateway.catalog.UpsertItems(catalog_pb2.UpsertItemsRequest(collection="shop", items=items))


async def search(gateway: Gateway, **fields: object) -> search_pb2.SearchResponse:
    return await gateway.search.Search(search_request(**fields))


def found(response: search_pb2.SearchResponse) -> list[str]:
    return [hit.item_id for hit in response.hits]


def predicted(response: search_pb2.SearchResponse | search_pb2.ClassifyResponse) -> Path:
    return tuple(response.predicted_category.names)


def gated(response: search_pb2.SearchResponse) -> list[Path]:
    return [tuple(one.category.names) for one in response.gated_categories]


SHOES = [
    item("s1", 0.95, ("Shoes", "Boots")),
    item("s2", 0.9, ("Shoes", "Boots")),
    item("b1", 0.88, ("Bags", "Totes")),
    item("n1", 0.97),
]


async def test_neighbours_say_the_category_of_a_vector(gateway: Gateway) -> None:
    await fill(gateway, *SHOES)
    plain = await search(gateway, k=2)
    assert not plain.predicted_categories
    response = await search(gateway, k=2, category_vote=True)
    assert predicted(response) == ("Shoes", "Boots")
    first = response.predicted_categories[0]
    weights = [1, math.exp((0.9 - 0.95) / 0.07), math.exp((0.88 - 0.95) / 0.07)]
    assert first.probability == pytest.approx(sum(weights[:2]) / sum(weights), abs=1e-4)
    assert list(response.hits) == list(plain.hits)
    assert response.coverage == plain.coverage
    for shard in gateway.shards:
        assert [one.k for one in shard.searched] == [2, 30], "its own hits vote, and no second search is made"


async def test_more_hits_than_voters_are_all_answered(gateway: Gateway) -> None:
    await fill(gateway, *(item(f"i{number:03}", 1 - number / 1000, ("a",)) for number in range(80)))
    response = await search(gateway, k=60, category_vote=True)
    assert found(response) == [f"i{number:03}" for number in range(60)]
    assert gateway.shards[0].searched[-1].k == 60


@pytest.mark.parametrize("restriction", [{"filter": in_category("Bags")}, {"min_score": 0.96}])
async def test_what_a_search_leaves_out_votes_all_the_same(
    gateway: Gateway, restriction: dict[str, object]
) -> None:
    await fill(gateway, *SHOES)
    plain = await search(gateway, exact=True, probes=7, **restriction)
    response = await search(gateway, exact=True, probes=7, category_vote=True, **restriction)
    assert list(response.hits) == list(plain.hits)
    assert predicted(response) == ("Shoes", "Boots")
    asked, second, third = gateway.shards[0].searched
    assert second.k == 30
    assert not any((second.group_by_product, second.exact, second.filter.ByteSize()))
    assert not second.HasField("probes")
    assert third == asked
    timing = response.timing
    assert timing.total_seconds >= timing.fanout_seconds > 0


async def test_an_item_has_no_vote_on_itself(gateway: Gateway) -> None:
    await fill(gateway, *SHOES, item("odd", 1.0, ("Hats",)))
    response = await search(gateway, query=search_pb2.Query(item_id="odd"), category_vote=True)
    assert predicted(response) == ("Shoes", "Boots")
    assert "odd" not in found(response)


async def test_model_and_neighbours_agree_on_a_photo(gateway: Gateway) -> None:
    gateway.embedder.categories = {("Bags", "Totes"): 0.55, ("Shoes", "Boots"): 0.25, ("Shoes", "Clogs"): 0.2}
    await fill(gateway)
    image = await search(gateway, query=IMAGE)
    assert predicted(image) == ("Bags", "Totes")
    assert predicted(await search(gateway, query=IMAGE, category_vote=True)) == ("Bags", "Totes")
    for name in ("a", "b"):
        upsert = catalog_pb2.UpsertItem(
            item=types_pb2.Item(item_id=name, category=types_pb2.CategoryPath(names=["Shoes", "Boots"])),
            image=types_pb2.Image(content=b"photo"),
        )
        await gateway.catalog.UpsertItems(catalog_pb2.UpsertItemsRequest(collection="shop", items=[upsert]))
    response = await search(gateway, query=IMAGE, category_vote=True)
    assert predicted(response) == ("Shoes", "Boots")
    chances = {tuple(one.category.names): one.probability for one in response.predicted_categories}
    assert chances["Shoes", "Boots"] == pytest.approx(0.5 * 0.25 + 0.5)
    assert chances["Bags", "Totes"] == pytest.approx(0.5 * 0.55)
    assert chances["Shoes",] == pytest.approx(chances["Shoes", "Boots"] + chances["Shoes", "Clogs"])


async def test_a_category_that_the_model_does_not_know(gateway: Gateway) -> None:
    gateway.embedder.categories = {("Bags", "Totes"): 0.9, ("Shoes", "Boots"): 0.1}
    upsert = catalog_pb2.UpsertItem(
        item=types_pb2.Item(
            item_id="new", category=types_pb2.CategoryPath(names=["Shoes", "Sandals", "Flat"])
        ),
        image=types_pb2.Image(content=b"photo"),
    )
    await fill(gateway, upsert)
    response = await search(gateway, query=photos_query(b"photo", b"photo"), category_vote=True)
    assert predicted(response) == ("Shoes", "Sandals", "Flat")
    assert [one.level for one in response.predicted_categories] == [META, META, LEVEL2, LEVEL2, LEVEL2, LEAF]


async def test_classify_lets_a_collection_vote(gateway: Gateway) -> None:
    gateway.embedder.categories = {}
    upsert = catalog_pb2.UpsertItem(
        item=types_pb2.Item(item_id="new", category=types_pb2.CategoryPath(names=["Shoes", "Boots"])),
        image=types_pb2.Image(content=b"photo"),
    )
    await fill(gateway, upsert)
    photo = types_pb2.Image(content=b"photo")
    response = await gateway.search.Classify(search_pb2.ClassifyRequest(image=photo, collection="shop", k=1))
    assert predicted(response) == ("Shoes", "Boots")
    assert response.model_version == "model-a"
    assert [(tuple(one.category.names), one.probability) for one in response.predictions] == [
        (("Shoes",), 1),
        (("Shoes", "Boots"), 1),
    ]
    cases = {
        ("damaged", "shop"): (CODE.INVALID_ARGUMENT, "IMAGE_DAMAGED", "image.content"),
        ("photo", "nothing"): (CODE.NOT_FOUND, "COLLECTION_NOT_FOUND", ""),
    }
    for (content, collection), expected in cases.items():
        photo = types_pb2.Image(content=content.encode())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.search.Classify(search_pb2.ClassifyRequest(image=photo, collection=collection))
        assert details_of(caught.value)[:2] == expected[:2]
        assert details_of(caught.value)[2] in (expected[2], "collection")


async def test_classify_gives_as_many_categories_as_asked_for(gateway: Gateway) -> None:
    gateway.embedder.categories = {(f"c{number:03}",): 1 / 200 for number in range(200)}
    await fill(gateway)
    photo = types_pb2.Image(content=b"photo")
    for k, expected in ((0, 5), (7, 7), (100, 100)):
        request = search_pb2.ClassifyRequest(image=photo, collection="shop", k=k)
        assert len((await gateway.search.Classify(request)).predictions) == expected


MODEL = {("Bags", "Totes"): 0.05, ("Caps",): 0.35, ("Shoes", "Boots"): 0.58, ("Shoes", "Clogs"): 0.02}


@pytest.fixture
async def shop(gateway: Gateway) -> Gateway:
    """Photos are boots by MODEL; the items are as near to the vector as their names say."""
    gateway.embedder.categories = MODEL
    await fill(
        gateway,
        item("98", 0.98, ("Bags", "Totes"), product="bag"),
        item("97", 0.97),
        item("95", 0.95, ("Shoes", "Boots"), product="boot"),
        item("94", 0.94, ("Shoes", "Boots"), product="boot"),
        item("90", 0.90, ("Caps",)),
        item("85", 0.85, ("Shoes", "Clogs")),
    )
    gateway.embedder.vectors[b"photo"] = QUERY.astype(np.float32)
    return gateway


@pytest.mark.parametrize(
    ("level", "mass", "items", "categories"),
    [
        (LEVEL2, 0.5, ["95"], [("Shoes", "Boots")]),
        (LEVEL2, None, ["98", "95", "90"], [("Shoes", "Boots"), ("Caps",), ("Bags", "Totes")]),
        (META, None, ["95", "90", "85"], [("Shoes",), ("Caps",)]),
        (LEAF, 0.9, ["95", "90"], [("Shoes", "Boots"), ("Caps",)]),
        (META, 1.0, ["98", "95", "90", "85"], [("Shoes",), ("Caps",), ("Bags",)]),
    ],
)
async def test_a_search_is_narrowed_to_the_most_probable_categories(
    shop: Gateway, level: int, mass: float | None, items: list[str], categories: list[Path]
) -> None:
    gate = {"category_gate": level, "category_gate_mode": NARROW, "category_gate_mass": mass}
    response = await search(shop, query=IMAGE, **gate)
    assert found(response) == items
    assert gated(response) == categories
    assert predicted(response) == ("Shoes", "Boots")
    assert shop.sample("category_gates_total", ending="narrow") == 1


async def test_a_narrowed_search_keeps_its_own_filter(shop: Gateway) -> None:
    own = types_pb2.Filter(
        any=[*in_category("Caps").all, *in_category("Bags").all, *in_category("Shoes").all],
        none=in_category("Bags").all,
    )
    gate = {"category_gate": META, "category_gate_mode": NARROW, "category_gate_mass": 0.9}
    assert found(await search(shop, query=IMAGE, filter=own, **gate)) == ["95", "90", "85"]
    sent = shop.shards[0].searched[-1].filter
    assert (list(sent.any), list(sent.none)) == (list(own.any), list(own.none))
    assert [len(one.in_categories.paths) for one in sent.all] == [2]


async def test_a_search_is_not_narrowed_where_too_little_is_known(shop: Gateway) -> None:
    many = MOST_CATEGORIES + 8
    shop.embedder.categories = {(f"c{number:03}",): 1 / many for number in range(many)}
    gate = {"category_gate": META, "category_gate_mode": NARROW}
    response = await search(shop, query=IMAGE, **gate)
    assert len(response.hits) == 5
    assert gated(response) == []
    assert len(gated(await search(shop, query=IMAGE, category_gate_mass=0.5, **gate))) == many / 2
    await shop.collections.CreateCollection(collection_pb2.CreateCollectionRequest(name="empty"))
    empty = await search(shop, collection="empty", category_vote=True, **gate)
    assert (found(empty), gated(empty), predicted(empty)) == ([], [], ())
    assert shop.sample("category_gates_total", ending="everywhere") == 2


async def test_a_boost_moves_probable_categories_forward_and_hides_nothing(shop: Gateway) -> None:
    plain = await search(shop, query=IMAGE)
    assert found(plain) == ["98", "97", "95", "90", "85"]
    response = await search(shop, query=IMAGE, category_gate=LEVEL2)
    assert found(response) == ["95", "98", "97", "90", "85"]
    scores = sorted(hit.score for hit in plain.hits)
    assert sorted(hit.score for hit in response.hits) == pytest.approx(scores, abs=1e-5)
    assert gated(response) == [("Shoes", "Boots"), ("Caps",), ("Bags", "Totes")]
    assert shop.shards[0].searched[-1].k == 100
    first = await search(shop, query=IMAGE, category_gate=META, category_gate_mode=BOOST, k=1)
    assert found(first) == ["95"]
    assert shop.sample("category_gates_total", ending="boost") == 2


async def test_a_boost_of_more_hits_than_candidates(shop: Gateway) -> None:
    await search(shop, query=IMAGE, category_gate=META, k=1000)
    await search(shop, query=IMAGE, category_gate=META, k=300)
    assert [one.k for one in shop.shards[0].searched] == [1000, 300]


async def test_vectors_are_gated_by_the_vote(shop: Gateway) -> None:
    narrow = {"category_gate": META, "category_gate_mode": NARROW, "category_gate_mass": 0.4}
    response = await search(shop, query=EMBEDDING, category_vote=True, **narrow)
    assert gated(response) == [("Shoes",)]
    assert found(response) == ["95", "85"]
    assert [one.k for one in shop.shards[0].searched] == [30, 10]
    boosted = await search(shop, query=EMBEDDING, category_vote=True, category_gate=META)
    assert len(boosted.hits) == 5
    assert len(shop.shards[0].searched) == 3
    where_nothing_votes = await search(
        shop, query=EMBEDDING, category_vote=True, category_gate=META, filter=in_category("Caps")
    )
    assert found(where_nothing_votes) == ["90"]


async def test_a_gate_needs_a_prediction(shop: Gateway) -> None:
    shop.embedder.categories = {}
    for query in (EMBEDDING, search_pb2.Query(item_id="95"), photo_query(b"another")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search(shop, query=query, category_gate=META)
        expected = (CODE.INVALID_ARGUMENT, "CATEGORY_NOT_PREDICTED", "category_gate")
        assert details_of(caught.value) == expected


async def test_several_searches_are_each_guided(shop: Gateway) -> None:
    narrow = {"category_gate": META, "category_gate_mode": NARROW, "category_vote": True}
    searches = [
        search_request(query=EMBEDDING, category_gate_mass=0.4, **narrow),
        search_request(query=EMBEDDING),
        search_request(query=EMBEDDING, category_gate=META),
        search_request(query=IMAGE, category_gate=META),
        search_request(query=EMBEDDING, category_vote=True),
    ]
    response = await shop.search.MultiSearch(search_pb2.MultiSearchRequest(searches=searches))
    narrowed, plain, refused, boosted, voted = response.results
    assert found(narrowed.response) == ["95", "85"]
    assert len(plain.response.hits) == len(boosted.response.hits) == len(voted.response.hits) == 5
    assert error_from_status(refused.error).field == "category_gate"
    assert gated(boosted.response)
    assert predicted(voted.response)


async def test_a_shard_without_an_answer_to_the_vote_counts(shop: Gateway) -> None:
    shop.shards[0].failure = UnavailableError("away")
    vote = {"category_vote": True, "filter": in_category("Caps")}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await search(shop, **vote)
    assert details_of(caught.value)[:2] == (CODE.UNAVAILABLE, "COVERAGE_TOO_LOW")
    response = await search(shop, min_coverage=0.5, **vote)
    assert response.coverage.shards_answered == 2
