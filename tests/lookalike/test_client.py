"""Both clients, against a real gRPC server with canned answers."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.client import (
    AsyncClient,
    CategoryGate,
    Client,
    Equals,
    Filter,
    Item,
    Region,
    Search,
    code_of,
)
from lookalike.client.types import SearchFields
from lookalike.errors import (
    AbortedError,
    DataLossError,
    DeadlineError,
    InvalidInputError,
    LookalikeError,
    NotFoundError,
    Reason,
    UnavailableError,
)
from lookalike.v1 import catalog_pb2, search_pb2, types_pb2
from tests.lookalike.conftest import serving
from tests.lookalike.ipv6 import needs_ipv6


class Face:
    """One way to call both clients."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        method = getattr(self.client, name)
        if inspect.iscoroutinefunction(method):
            return await method(*args, **options)
        return await asyncio.to_thread(method, *args, **options)

    async def list(self, **options: Any) -> list[Any]:
        if isinstance(self.client, AsyncClient):
            return [item async for item in self.client.list(**options)]
        client = self.client
        return await asyncio.to_thread(lambda: list(client.list(**options)))


@pytest.fixture(params=["sync", "async"])
async def face(request: pytest.FixtureRequest, target: str) -> AsyncIterator[Face]:
    if request.param == "sync":
        with Client(target) as client:
            yield Face(client)
    else:
        async with AsyncClient(target) as client:
            yield Face(client)


def items(count: int, **options: Any) -> list[Item]:
    return [Item(item_id=f"i{number:03}", image=b"jpeg", **options) for number in range(count)]


def test_the_two_clients_offer_the_same() -> None:
    def faces(cls: type) -> dict[str, list[str]]:
        members = inspect.getmembers(cls, inspect.isfunction)
        return {name: list(inspect.signature(f).parameters) for name, f in members if name[0] != "_"}

    assert faces(Client) == faces(AsyncClient)


def test_a_search_takes_its_fields_as_arguments() -> None:
    written = {name: hint.__forward_arg__ for name, hint in SearchFields.__annotations__.items()}
    assert written == {field.name: field.type for field in fields(Search)}


def test_the_client_loads_nothing_of_a_server() -> None:
    servers = ("lookalike.runtime", "prometheus_client", "pydantic")
    code = f"import sys, lookalike.client; print([n for n in sys.modules if n.startswith({servers})])"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout == "[]\n"


async def test_search_carries_every_option_and_reads_every_field(face: Face, store: Any) -> None:
    result = await face.call(
        "search",
        image=b"jpeg",
        k=2,
        collection="default",
        exact=True,
        group_by_product=False,
        probes=9,
        min_score=-1.0,
        min_coverage=0.5,
        min_log_position="p7",
        region=Region(0.0, 0.25, 0.5, 1.0),
    )
    (request,) = store.requests
    assert request.query.image.content == b"jpeg"
    assert request.query.image.region.y_min == 0.25
    assert (request.k, request.exact, request.probes, request.min_log_position) == (2, True, 9, "p7")
    assert request.HasField("group_by_product")
    assert not request.group_by_product
    assert (request.min_score, request.min_coverage) == (-1.0, 0.5)

    hit, other = result.hits
    assert (hit.product_id, hit.item_id, hit.score, hit.title) == ("p1", "i1", 0.5, "Red lamp")
    assert (hit.category, hit.attributes, hit.image_uri) == (("Home", "Lamps"), {"colour": "red"}, "lamp.jpg")
    assert (hit.match_probability, other.match_probability) == (0.25, None)
    (prediction,) = result.predicted_categories
    assert (prediction.category, prediction.level, prediction.probability) == (("Home",), "meta", 0.75)
    assert result.predicted_category == ("Home",)
    assert not result.coverage.complete
    assert result.coverage.scanned_fraction == 0.25
    assert (result.timing.total_seconds, result.timing.merge_seconds) == (0.5, 0.125)
    assert result.model_version == "m1"


async def test_search_carries_a_filter_and_the_effort(face: Face, store: Any) -> None:
    blue = Equals("colour", "blue")
    await face.call("search", item_id="a", filter=Filter(none=(blue,)), effort=0.5)
    await face.call("search", item_id="a", filter=blue)
    excluding, plain = store.requests
    assert (excluding.filter.none[0].equals.name, excluding.filter.none[0].equals.value) == ("colour", "blue")
    assert excluding.WhichOneof("breadth") == "effort"
    assert excluding.effort == 0.5
    assert list(plain.filter.all) == list(excluding.filter.none)


async def test_search_carries_what_it_asks_of_categories(face: Face, store: Any) -> None:
    narrow = CategoryGate("level2", mode="narrow", mass=0.5)
    answer = await face.call("search", item_id="a", category_gate=narrow, category_vote=True)
    assert [(one.category, one.level) for one in answer.gated_categories] == [(("Home",), "meta")]
    await face.call("search", item_id="a", category_gate="leaf")
    narrowing, boosting = store.requests
    assert narrowing.category_vote
    assert narrowing.category_gate == types_pb2.CATEGORY_LEVEL_LEVEL2
    assert narrowing.category_gate_mode == search_pb2.CATEGORY_GATE_MODE_NARROW
    assert narrowing.category_gate_mass == 0.5
    assert (boosting.category_gate, boosting.category_vote) == (types_pb2.CATEGORY_LEVEL_LEAF, False)
    assert boosting.category_gate_mode == search_pb2.CATEGORY_GATE_MODE_BOOST
    assert not boosting.HasField("category_gate_mass")
    await face.call("classify", b"jpeg", collection="shop")
    assert store.requests[-1].collection == "shop"


async def test_search_leaves_unset_options_to_the_server(face: Face, store: Any) -> None:
    await face.call("search", item_id="i1")
    (request,) = store.requests
    assert request.query.item_id == "i1"
    assert request.k == 10
    assert not any(
        request.HasField(name) for name in ("min_score", "min_coverage", "probes", "effort", "filter")
    )


async def test_search_takes_photos_and_vectors_in_many_forms(face: Face, store: Any, tmp_path: Path) -> None:
    photo = tmp_path / "shoe.jpg"
    photo.write_bytes(b"from a file")
    await face.call("search", image=photo)
    await face.call("search", image=str(photo))
    await face.call("search", images=[b"one", photo])
    await face.call("search", embedding=np.array([1.0, 2.0], dtype=np.float32))
    await face.call("search", embedding=[1, 2])
    queries = [request.query for request in store.requests]
    assert [query.image.content for query in queries[:2]] == [b"from a file"] * 2
    assert [image.content for image in queries[2].images.images] == [b"one", b"from a file"]
    assert [list(query.embedding.values) for query in queries[3:]] == [[1.0, 2.0]] * 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, Reason.FIELD_MISSING),
        ({"image": b"a", "item_id": "b"}, Reason.FIELD_INVALID),
        ({"item_id": "b", "probes": 1, "effort": 0.5}, Reason.FIELD_INVALID),
        ({"item_id": "b", "filter": {"colour": "blue"}}, Reason.FIELD_INVALID),
        ({"image": "no such file.jpg"}, Reason.FIELD_INVALID),
        ({"image": b"x" * (12 * 1024 * 1024 + 1)}, Reason.IMAGE_TOO_LARGE),
        ({"image": b"a", "region": (0.0, 1.0)}, Reason.REGION_INVALID),
        ({"item_id": "a", "region": (0, 0, 1, 1)}, Reason.REGION_INVALID),
        ({"embedding": [[1.0, 2.0]]}, Reason.DIMENSION_MISMATCH),
        ({"embedding": ["one"]}, Reason.FIELD_INVALID),
        ({"image": b"a", "k": -1}, Reason.FIELD_OUT_OF_RANGE),
        ({"image": b"a", "k": 0}, Reason.FIELD_OUT_OF_RANGE),
        ({"image": b"a", "k": 10**6}, Reason.FIELD_OUT_OF_RANGE),
        ({"image": b"a", "k": 10**12}, Reason.FIELD_OUT_OF_RANGE),
        ({"image": b"a", "probes": -1}, Reason.FIELD_OUT_OF_RANGE),
    ],
)
async def test_bad_input_is_one_domain_error(face: Face, options: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await face.call("search", **options)
    assert caught.value.reason == reason
    assert code_of(caught.value).name == "INVALID_ARGUMENT"
    assert "\n" not in caught.value.message


async def test_server_errors_become_domain_errors(face: Face) -> None:
    with pytest.raises(NotFoundError, match="no collection 'shoes'") as caught:
        await face.call("search", image=b"a", collection="shoes")
    assert caught.value.reason == Reason.COLLECTION_NOT_FOUND
    assert caught.value.field == "collection"
    assert code_of(caught.value).name == "NOT_FOUND"


async def test_an_error_that_repeats_a_long_text_arrives_whole(face: Face) -> None:
    with pytest.raises(NotFoundError, match="there is no collection 'é") as caught:
        await face.call("search", image=b"a", collection="é" * 5000)
    assert caught.value.reason == Reason.COLLECTION_NOT_FOUND
    assert caught.value.message.endswith("...")


async def test_an_unavailable_server_is_tried_again(face: Face, store: Any) -> None:
    store.unavailable_calls = 2
    assert (await face.call("search", image=b"a")).hits
    store.unavailable_calls = 100
    with pytest.raises(UnavailableError, match="shard 1"):
        await face.call("search", image=b"a")


@pytest.mark.parametrize(
    "failure",
    [
        UnavailableError("1 of 2 shards answered", reason=Reason.COVERAGE_TOO_LOW),
        DataLossError("shard 1: its data is missing"),
    ],
)
async def test_a_search_with_too_few_shards_is_not_repeated(
    face: Face, store: Any, failure: LookalikeError
) -> None:
    store.failures = [failure]
    with pytest.raises(type(failure), match=failure.message) as caught:
        await face.call("search", image=b"a")
    assert caught.value.reason == failure.reason
    assert len(store.requests) == 1


async def test_an_explanation_outlives_the_deadline_of_a_retry(face: Face, store: Any) -> None:
    store.failures = [UnavailableError("shard 1 cannot be reached", retry_after_seconds=0.01)]
    store.delays = [0.0, 30.0]
    with pytest.raises(UnavailableError, match="shard 1"):
        await face.call("search", image=b"a", timeout_seconds=1.0)
    assert len(store.requests) == 2


async def test_deleting_a_collection_is_not_repeated(face: Face, store: Any) -> None:
    await face.call("create_collection", "shoes")
    store.failures = [UnavailableError("shard 0 cannot be reached", retry_after_seconds=0.01)]
    with pytest.raises(UnavailableError, match="shard 0"):
        await face.call("delete_collection", "shoes")
    assert "shoes" in store.collections


async def test_messages_that_are_too_large_are_the_callers_to_split(face: Face, store: Any) -> None:
    many = [Item(item_id=f"i{n}", image=bytes(12 * 1024 * 1024)) for n in range(2)]
    with pytest.raises(InvalidInputError, match="the request has 25165") as caught:
        await face.call("upsert", many)
    assert caught.value.reason == Reason.BATCH_TOO_LARGE
    with pytest.raises(InvalidInputError, match=r"item 'i': \d+ bytes do not fit") as caught:
        await face.call("upsert", [Item(item_id="i", embedding=np.ones(2**22))])
    store.items["a"] = catalog_pb2.UpsertItem(item=types_pb2.Item(item_id="a", title="x" * (17 << 20)))
    with pytest.raises(InvalidInputError, match="more than one message may have") as caught:
        await face.call("get", ["a"])
    assert caught.value.reason == Reason.BATCH_TOO_LARGE


async def test_no_server_and_no_time_are_different_errors(face: Face, store: Any) -> None:
    store.delay_seconds = 5.0
    with Client("127.0.0.1:1") as nobody, pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1") as caught:
        await asyncio.to_thread(nobody.count)
    assert caught.value.reason == Reason.GATEWAY_UNREACHABLE
    with pytest.raises(DeadlineError):
        await face.call("search", image=b"a", timeout_seconds=0.1)


@needs_ipv6
async def test_an_ipv6_address_needs_no_brackets(store: Any) -> None:
    async with serving(store, "::1") as target:
        assert target.startswith("::1:")
        async with AsyncClient(target) as client:
            assert (await client.server_info()).version == "0.1.0"
        with Client(target) as client:
            assert (await Face(client).call("server_info")).version == "0.1.0"


async def test_multi_search_gives_each_its_own_outcome(face: Face) -> None:
    good, bad = await face.call("multi_search", [Search(image=b"a", k=1), Search(image=b"b", k=0)])
    assert [hit.item_id for hit in good.hits] == ["i1"]
    assert isinstance(bad, InvalidInputError)
    assert bad.field == "k"


async def test_classify_and_server_info(face: Face, store: Any) -> None:
    answer = await face.call("classify", b"jpeg", k=3, region=(0, 0, 1, 0.5))
    assert answer.category == ("Home", "Lamps", "Desk")
    assert answer.predictions[0].category == ("Home", "Lamps", "Desk")
    assert answer.predictions[0].level == "leaf"
    assert store.requests[0].k == 3
    info = await face.call("server_info")
    assert (info.version, info.shards_total, info.limits.max_k) == ("0.1.0", 2, 1000)


async def test_write_read_list_count_delete(face: Face, store: Any) -> None:
    lamp = Item(
        item_id="lamp",
        product_id="p",
        title="Lamp",
        category=("Home", "Lamps"),
        attributes={"colour": "red"},
        image_uri="lamp.jpg",
        embedding=[1, 0, 0, 0],
        embedding_model_version="m1",
        if_version=0,
    )
    written = await face.call("upsert", [lamp, Item(item_id="torn", image=b"bad")])
    assert [result.version for result in written.results] == [7, None]
    (failure,) = written.failures
    assert failure.item_id == "torn"
    assert failure.error.reason == Reason.IMAGE_DAMAGED
    assert (written.receipt.durability, written.receipt.log_position) == ("LOCAL_DISK", "p1")
    sent = store.requests[0]
    assert sent.request_id
    assert sent.items[0].HasField("if_version")
    assert not sent.items[1].HasField("if_version")
    assert sent.items[0].embedding.model_version == "m1"

    found = await face.call("get", ["lamp", "ghost"], include_embeddings=True)
    assert found.missing_item_ids == ("ghost",)
    (stored,) = found.items
    assert (stored.product_id, stored.title, stored.category) == ("p", "Lamp", ("Home", "Lamps"))
    assert stored.attributes == {"colour": "red"}
    assert (stored.version, stored.update_time.year, stored.update_time.utcoffset().seconds) == (7, 2001, 0)
    assert stored.embedding.tolist() == [1, 0, 0, 0]

    await face.call("upsert", items(6))
    assert [item.item_id for item in await face.list(page_size=3)] == [
        *(f"i{number:03}" for number in range(6)),
        "lamp",
    ]
    assert await face.call("count") == 7
    stayed = await face.call("delete", ["lamp", "i000"], if_versions={"lamp": 3, "i000": 7})
    assert (stayed.deleted_count, stayed.missing_count) == (1, 0)
    assert [(failure.item_id, type(failure.error)) for failure in stayed.failures] == [("lamp", AbortedError)]
    gone = await face.call("delete", ["lamp", "ghost"])
    assert (gone.deleted_count, gone.missing_count, gone.receipt.log_position) == (1, 1, "p1")


async def test_collections_and_aliases(face: Face, store: Any) -> None:
    made = await face.call("create_collection", "shoes", bits=512)
    assert (made.name, made.dimension, made.bits) == ("shoes", 4, 256)
    assert store.requests[0].spec.bits == 512
    assert (made.rerank, store.requests[0].spec.rerank, store.requests[0].repair) == ("f16", 0, False)
    small = await face.call("create_collection", "hats", rerank="int8", repair=True)
    assert (small.rerank, store.requests[1].repair) == ("int8", True)
    await face.call("delete_collection", "hats")
    assert (await face.call("get_collection", "shoes")).item_count == 0
    assert [entry.name for entry in await face.call("list_collections")] == ["default", "shoes"]
    assert await face.call("set_alias", "live", "default") == ""
    assert await face.call("set_alias", "live", "shoes") == "default"
    assert [(a.name, a.collection) for a in await face.call("list_aliases")] == [("live", "shoes")]
    await face.call("delete_alias", "live")
    await face.call("delete_collection", "shoes")
    with pytest.raises(NotFoundError):
        await face.call("get_collection", "shoes")
