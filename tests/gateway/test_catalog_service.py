"""CatalogService and CollectionService through a real server and channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

from gateway.embedding import chunks
from lookalike.errors import InvalidInputError, Reason, UnavailableError
from lookalike.v1 import catalog_pb2, collection_pb2, search_pb2, types_pb2
from lookalike.wire.status import error_from_rpc, error_from_status

if TYPE_CHECKING:
    from conftest import Gateway, StartGateway

Upsert = catalog_pb2.UpsertItem
VECTOR = types_pb2.Embedding(values=[1.0] * 8)


def _item(item_id: str = "a", photo: bytes = b"", **fields: object) -> Upsert:
    item = types_pb2.Item(item_id=item_id, **fields)
    if photo:
        return Upsert(item=item, image=types_pb2.Image(content=photo))
    return Upsert(item=item, embedding=VECTOR)


def _path(*names: str) -> types_pb2.CategoryPath:
    return types_pb2.CategoryPath(names=names)


def _upsert(*items: Upsert, request_id: str = "", collection: str = "shop") -> catalog_pb2.UpsertItemsRequest:
    return catalog_pb2.UpsertItemsRequest(collection=collection, request_id=request_id, items=items)


BAD_UPSERTS = {
    "no item": (_upsert(), "FIELD_MISSING items"),
    "too many": (_upsert(*[_item(f"i{n}") for n in range(257)]), "BATCH_TOO_LARGE items"),
    "request id": (_upsert(_item(), request_id="r" * 65), "FIELD_OUT_OF_RANGE request_id"),
    "no id": (_upsert(_item("")), "FIELD_MISSING items[0].item.item_id"),
    "long id": (_upsert(_item("i" * 129)), "FIELD_OUT_OF_RANGE items[0].item.item_id"),
    "long product": (_upsert(_item(product_id="p" * 129)), "FIELD_OUT_OF_RANGE items[0].item.product_id"),
    "long title": (_upsert(_item(title="t" * 1025)), "FIELD_OUT_OF_RANGE items[0].item.title"),
    "long uri": (_upsert(_item(image_uri="u" * 2049)), "FIELD_OUT_OF_RANGE items[0].item.image_uri"),
    "gap": (_upsert(_item(category=_path("a", "", "c"))), "CATEGORY_INVALID items[0].item.category"),
    "empty top": (_upsert(_item(category=_path("", "b"))), "CATEGORY_INVALID items[0].item.category"),
    "four levels": (_upsert(_item(category=_path(*"abcd"))), "CATEGORY_INVALID items[0].item.category"),
    "long level": (_upsert(_item(category=_path("c" * 257))), "CATEGORY_INVALID items[0].item.category"),
    "attributes": (
        _upsert(_item(attributes={str(n): "" for n in range(65)})),
        "FIELD_OUT_OF_RANGE items[0].item.attributes",
    ),
    "no attribute name": (_upsert(_item(attributes={"": "x"})), "FIELD_INVALID items[0].item.attributes"),
    "long attribute name": (
        _upsert(_item(attributes={"n" * 65: "x"})),
        "FIELD_OUT_OF_RANGE items[0].item.attributes",
    ),
    "long attribute": (
        _upsert(_item(attributes={"n": "x" * 1025})),
        "FIELD_OUT_OF_RANGE items[0].item.attributes[n]",
    ),
    "twice": (_upsert(_item(), _item()), "PRODUCT_CONFLICT items[1].item.item_id"),
    "two products": (
        _upsert(_item(product_id="p"), _item(product_id="q")),
        "PRODUCT_CONFLICT items[1].item.product_id",
    ),
    "no source": (_upsert(Upsert(item=types_pb2.Item(item_id="a"))), "FIELD_MISSING items[0]"),
}


async def test_too_much_at_once_is_answered_with_the_limit(gateway: Gateway) -> None:
    await gateway.create()
    calls = {
        "256": gateway.catalog.UpsertItems(BAD_UPSERTS["too many"][0]),
        "1000": gateway.catalog.DeleteItems(catalog_pb2.DeleteItemsRequest(item_ids=["a"] * 1001)),
        "64": gateway.search.MultiSearch(
            search_pb2.MultiSearchRequest(searches=[search_pb2.SearchRequest()] * 65)
        ),
    }
    for limit, call in calls.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        error = error_from_rpc(caught.value)
        assert error.reason is Reason.BATCH_TOO_LARGE
        assert error.metadata == {"max": limit}


async def test_bad_upserts_are_refused_whole(gateway: Gateway) -> None:
    await gateway.create()
    for name, (request, expected) in BAD_UPSERTS.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.catalog.UpsertItems(request)
        error = error_from_rpc(caught.value)
        assert isinstance(error, InvalidInputError), name
        assert f"{error.reason} {error.field}" == expected, name
    assert await _count(gateway) == 0


async def _count(gateway: Gateway) -> int:
    return (await gateway.catalog.CountItems(catalog_pb2.CountItemsRequest(collection="shop"))).item_count


async def test_bad_photos_and_vectors_fail_alone(gateway: Gateway) -> None:
    await gateway.create()
    nan = Upsert(item=types_pb2.Item(item_id="nan"), embedding=types_pb2.Embedding(values=[float("nan")] * 8))
    short = Upsert(item=types_pb2.Item(item_id="short"), embedding=types_pb2.Embedding(values=[1.0]))
    empty = Upsert(item=types_pb2.Item(item_id="empty"), image=types_pb2.Image())
    items = [_item("good", b"photo"), _item("bad", b"damaged"), nan, short, empty, _item("vector")]
    response = await gateway.catalog.UpsertItems(_upsert(*items))
    assert [result.item_id for result in response.results] == [upsert.item.item_id for upsert in items]
    errors = {
        result.item_id: error_from_status(result.error)
        for result in response.results
        if result.HasField("error")
    }
    assert {item_id: (error.reason, error.field) for item_id, error in errors.items()} == {
        "bad": (Reason.IMAGE_DAMAGED, "items[1].image.content"),
        "nan": (Reason.VECTOR_NOT_FINITE, "items[2].embedding.values"),
        "short": (Reason.DIMENSION_MISMATCH, "items[3].embedding.values"),
        "empty": (Reason.IMAGE_EMPTY, "items[4].image.content"),
    }
    assert response.receipt.durability == types_pb2.DURABILITY_LOCAL_DISK
    assert response.receipt.log_position
    assert await _count(gateway) == 2
    nothing = await gateway.catalog.UpsertItems(_upsert(_item("bad", b"damaged")))
    assert not nothing.HasField("receipt")


async def test_vectors_of_another_model_are_refused(gateway: Gateway) -> None:
    await gateway.create()
    other = types_pb2.Embedding(values=[1.0] * 8, model_version="model-b")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.catalog.UpsertItems(_upsert(Upsert(item=types_pb2.Item(item_id="a"), embedding=other)))
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION


async def test_a_write_that_reached_some_shards_is_applied_once_by_its_retry(gateway: Gateway) -> None:
    await gateway.create()
    request = _upsert(*(_item(f"i{n}", b"photo-%d" % n) for n in range(30)), request_id="r" * 64)
    gateway.shards[2].failure = UnavailableError("down")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.catalog.UpsertItems(request)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "retry with the same request_id" in caught.value.details()
    gateway.shards[2].failure = None
    response = await gateway.catalog.UpsertItems(request)
    assert {result.WhichOneof("outcome") for result in response.results} == {"version"}
    assert [generation.position for generation in gateway.on_shards()] == [1, 1, 1]
    assert await _count(gateway) == 30
    again = await gateway.catalog.UpsertItems(request)
    assert again == response


async def test_a_request_id_with_other_content_is_refused(gateway: Gateway) -> None:
    await gateway.create()
    await gateway.catalog.UpsertItems(_upsert(_item("a", b"one"), request_id="r"))
    reuses = [
        gateway.catalog.UpsertItems(_upsert(_item("a", b"two"), request_id="r")),
        gateway.catalog.UpsertItems(_upsert(_item("a", b"one", title="new"), request_id="r")),
        gateway.catalog.DeleteItems(
            catalog_pb2.DeleteItemsRequest(collection="shop", request_id="r", item_ids=["a"])
        ),
    ]
    for call in reuses:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert error_from_rpc(caught.value).reason is Reason.REQUEST_ID_REUSED


async def test_items_lie_where_placement_says_and_come_back(gateway: Gateway) -> None:
    items = await gateway.fill(60, products=20)
    assert all(generation.rows for generation in gateway.on_shards())
    ids = ["item-0042", "nobody", "item-0003", "item-0042"]
    request = catalog_pb2.GetItemsRequest(collection="shop", item_ids=ids, include_embeddings=True)
    response = await gateway.catalog.GetItems(request)
    assert [stored.item.item_id for stored in response.items] == ["item-0042", "item-0003"]
    assert list(response.missing_item_ids) == ["nobody"]
    values = np.array(items[42].embedding.values)
    assert np.allclose(response.items[0].embedding.values, values / np.linalg.norm(values), atol=1e-6)
    assert response.items[0].embedding.model_version == "model-a"
    request.include_embeddings = False
    bare = await gateway.catalog.GetItems(request)
    assert not bare.items[0].HasField("embedding")


async def test_what_a_lost_shard_holds_is_not_missing(gateway: Gateway) -> None:
    await gateway.fill(60, products=20)
    gateway.shards[0].failure = UnavailableError("down")
    calls = [
        gateway.catalog.GetItems(
            catalog_pb2.GetItemsRequest(collection="shop", item_ids=[f"item-{n:04}" for n in range(60)])
        ),
        gateway.catalog.ListItems(catalog_pb2.ListItemsRequest(collection="shop")),
        gateway.catalog.CountItems(catalog_pb2.CountItemsRequest(collection="shop")),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        error = error_from_rpc(caught.value)
        assert (type(error), error.reason) == (UnavailableError, Reason.SHARD_UNAVAILABLE)


@pytest.mark.parametrize("page_size", [0, 1, 7, 1000])
async def test_pages_hold_everything_once_in_order(gateway: Gateway, page_size: int) -> None:
    await gateway.fill(50, products=50)
    await gateway.catalog.UpsertItems(_upsert(_item("é"), _item("Z"), _item("\U0001f600"), _item("\uffff")))
    listed: list[str] = []
    request = catalog_pb2.ListItemsRequest(collection="shop", page_size=page_size)
    while True:
        page = await gateway.catalog.ListItems(request)
        assert len(page.items) <= (page_size or 100)
        listed += [stored.item.item_id for stored in page.items]
        if not page.next_page_token:
            break
        assert page.items
        request.page_token = page.next_page_token
    assert len(listed) == 54
    assert listed == sorted(listed, key=str.encode)


async def test_bad_reads_are_refused(gateway: Gateway) -> None:
    await gateway.create()
    get, listing = gateway.catalog.GetItems, gateway.catalog.ListItems
    calls = {
        "FIELD_MISSING item_ids": get(catalog_pb2.GetItemsRequest(collection="shop")),
        "BATCH_TOO_LARGE item_ids": get(
            catalog_pb2.GetItemsRequest(collection="shop", item_ids=["i"] * 1001)
        ),
        "FIELD_MISSING item_ids[1]": get(catalog_pb2.GetItemsRequest(collection="shop", item_ids=["a", ""])),
        "FIELD_OUT_OF_RANGE page_size": listing(
            catalog_pb2.ListItemsRequest(collection="shop", page_size=1001)
        ),
        "PAGE_TOKEN_INVALID page_token": listing(
            catalog_pb2.ListItemsRequest(collection="shop", page_token="?")
        ),
        "COLLECTION_NOT_FOUND collection": get(
            catalog_pb2.GetItemsRequest(collection="nothing", item_ids=["a"])
        ),
    }
    for expected, call in calls.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        error = error_from_rpc(caught.value)
        assert f"{error.reason} {error.field}" == expected


async def test_deletes_count_what_was_there(gateway: Gateway) -> None:
    await gateway.fill(20, products=20)
    ids = ["item-0001", "item-0002", "nobody", "item-0001"]
    request = catalog_pb2.DeleteItemsRequest(collection="shop", request_id="d", item_ids=ids)
    for _ in range(2):
        response = await gateway.catalog.DeleteItems(request)
        assert (response.deleted_count, response.missing_count) == (2, 1)
        assert response.receipt.log_position
    assert await _count(gateway) == 18


async def test_deletes_may_demand_versions(gateway: Gateway) -> None:
    await gateway.fill(20, products=20)
    get = catalog_pb2.GetItemsRequest(collection="shop", item_ids=["item-0001", "item-0002"])
    versions = {s.item.item_id: s.version for s in (await gateway.catalog.GetItems(get)).items}
    request = catalog_pb2.DeleteItemsRequest(
        collection="shop",
        request_id="d",
        item_ids=["item-0001", "item-0002", "item-0003", "nobody", "ghost"],
        if_versions={"item-0001": versions["item-0001"], "item-0002": 99, "nobody": 0, "ghost": 7},
    )
    for _ in range(2):
        response = await gateway.catalog.DeleteItems(request)
        assert (response.deleted_count, response.missing_count) == (2, 1)
        failures = {failure.item_id: error_from_status(failure.error) for failure in response.failures}
        assert {item_id: error.reason for item_id, error in failures.items()} == {
            "item-0002": Reason.VERSION_CONFLICT,
            "ghost": Reason.VERSION_CONFLICT,
        }
    assert await _count(gateway) == 18
    request.if_versions["item-0002"] = versions["item-0002"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.catalog.DeleteItems(request)
    assert error_from_rpc(caught.value).reason is Reason.REQUEST_ID_REUSED
    request.request_id = "e"
    request.if_versions["item-" + "x" * 500] = 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.catalog.DeleteItems(request)
    error = error_from_rpc(caught.value)
    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "if_versions")


async def test_a_write_goes_to_the_shards_under_the_callers_own_request_id(gateway: Gateway) -> None:
    await gateway.create()
    await gateway.catalog.UpsertItems(_upsert(*(_item(f"i{n}") for n in range(30)), request_id="mine"))
    assert {shard.applied[-1].request_id for shard in gateway.shards} == {"mine"}


async def test_a_write_to_a_full_disk_says_so(gateway: Gateway) -> None:
    await gateway.create()
    gateway.shards[0].failure = UnavailableError("the disk of the shard is full", reason=Reason.DISK_FULL)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.catalog.UpsertItems(_upsert(*(_item(f"i{n}") for n in range(30))))
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "shard 0: the disk of the shard is full; nothing is acknowledged" in caught.value.details()


async def test_items_that_do_not_fit_are_refused_and_pages_end_before(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(2, max_message_bytes=64 * 1024)
    await gateway.create()
    large = {f"a{n}": "x" * 1000 for n in range(4)}
    ids = [f"i{n:02}" for n in range(40)]
    for item_id in ids:
        await gateway.catalog.UpsertItems(_upsert(_item(item_id, attributes=large)))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.catalog.GetItems(catalog_pb2.GetItemsRequest(collection="shop", item_ids=ids))
    error = error_from_rpc(caught.value)
    assert (error.reason, error.field) == (Reason.BATCH_TOO_LARGE, "item_ids")
    listed: list[str] = []
    request = catalog_pb2.ListItemsRequest(collection="shop", page_size=40)
    for _ in ids:
        page = await gateway.catalog.ListItems(request)
        listed += [stored.item.item_id for stored in page.items]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert listed == ids


def test_photos_are_cut_into_messages_that_fit() -> None:
    sizes = [1, 9, 9, 3, 3, 12, 12, 1]
    images = [types_pb2.Image(content=bytes(size * 1024 * 1024)) for size in sizes]
    pieces = list(chunks(images))
    assert [image for piece in pieces for image in piece] == images
    assert all(sum(image.ByteSize() for image in piece) < 15 * 1024 * 1024 for piece in pieces)
    assert [len(piece) for piece in chunks([types_pb2.Image(content=b"x")] * 130)] == [64, 64, 2]


async def test_collections_and_aliases_over_the_wire(gateway: Gateway) -> None:
    collections = gateway.collections
    spec = collection_pb2.CollectionSpec(bits=128)
    request = collection_pb2.CreateCollectionRequest(name="shop", spec=spec)
    created = (await collections.CreateCollection(request)).collection
    assert (created.name, created.spec.dimension, created.spec.bits) == ("shop", 8, 128)
    assert created.spec.rerank == collection_pb2.RERANK_PRECISION_F16
    assert created.generation == gateway.generation()
    assert created.create_time.seconds > 1_700_000_000
    await gateway.catalog.UpsertItems(_upsert(_item("a"), _item("b")))
    alias = collection_pb2.Alias(name="live", collection="shop")
    answer = await collections.SetAlias(collection_pb2.SetAliasRequest(alias=alias))
    assert (answer.alias, answer.previous_collection) == (alias, "")
    got = await collections.GetCollection(collection_pb2.GetCollectionRequest(name="live"))
    assert (got.collection, got.item_count) == (created, 2)
    listed = await collections.ListCollections(collection_pb2.ListCollectionsRequest())
    assert list(listed.collections) == [created]
    aliases = await collections.ListAliases(collection_pb2.ListAliasesRequest())
    assert list(aliases.aliases) == [alias]
    delete = collection_pb2.DeleteCollectionRequest(name="shop")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await collections.DeleteCollection(delete)
    assert error_from_rpc(caught.value).reason is Reason.COLLECTION_ALIASED
    await collections.DeleteAlias(collection_pb2.DeleteAliasRequest(name="live"))
    await collections.DeleteCollection(delete)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await collections.GetCollection(collection_pb2.GetCollectionRequest(name="shop"))
    error = error_from_rpc(caught.value)
    assert (error.reason, error.field) == (Reason.COLLECTION_NOT_FOUND, "name")
