"""SearchService through a real server and channel."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from lookalike.errors import OverloadedError, Reason, UnavailableError
from lookalike.v1 import catalog_pb2, collection_pb2, search_pb2, types_pb2
from lookalike.wire.status import error_from_rpc, error_from_status

if TYPE_CHECKING:
    from conftest import Gateway, StartGateway

CODE = grpc.StatusCode
EMBEDDING = search_pb2.Query(embedding=types_pb2.Embedding(values=[1.0] * 8))
IMAGE = search_pb2.Query(image=types_pb2.Image(content=b"photo"))


def _query(**fields: object) -> search_pb2.SearchRequest:
    request = {"collection": "shop", "query": EMBEDDING, "k": 10} | fields
    return search_pb2.SearchRequest(**{k: v for k, v in request.items() if v is not None})


def _embedding(values: list[float], model: str = "") -> search_pb2.Query:
    return search_pb2.Query(embedding=types_pb2.Embedding(values=values, model_version=model))


def _image(content: bytes = b"photo", region: tuple[float, ...] | None = None) -> search_pb2.Query:
    image = types_pb2.Image(content=content)
    if region:
        image.region.CopyFrom(
            types_pb2.Region(**dict(zip(("x_min", "y_min", "x_max", "y_max"), region, strict=True)))
        )
    return search_pb2.Query(image=image)


def _images(*contents: bytes) -> search_pb2.Query:
    images = [types_pb2.Image(content=content) for content in contents]
    return search_pb2.Query(images=types_pb2.ImageSet(images=images))


def _in_category(name: str) -> types_pb2.Filter:
    condition = types_pb2.Condition(in_category=types_pb2.CategoryPath(names=[name]))
    return types_pb2.Filter(all=[condition])


def details_of(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str, str]:
    """Code, reason and field, from the rich details as any client sees them."""
    (raw,) = [v for k, v in error.trailing_metadata() if k == "grpc-status-details-bin"]
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(raw).details:
        detail.Unpack(info)
        detail.Unpack(bad)
    assert info.domain == "lookalike"
    return error.code(), info.reason, bad.field_violations[0].field if bad.field_violations else ""


BIG = b"x" * (12 * 1024 * 1024 + 1)
BAD_SEARCHES = {
    "no query": (_query(query=None), "INVALID_ARGUMENT FIELD_MISSING query"),
    "k forgotten": (_query(k=0), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE k"),
    "k too large": (_query(k=1001), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE k"),
    "min_score NaN": (_query(min_score=math.nan), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE min_score"),
    "min_score": (_query(min_score=1.5), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE min_score"),
    "coverage": (_query(min_coverage=1.1), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE min_coverage"),
    "coverage NaN": (_query(min_coverage=math.nan), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE min_coverage"),
    "probes": (_query(probes=0), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE probes"),
    "effort": (_query(effort=1.5), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE effort"),
    "effort NaN": (_query(effort=math.nan), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE effort"),
    "filter": (
        _query(filter=_in_category("")),
        "INVALID_ARGUMENT CATEGORY_INVALID filter.all[0].in_category",
    ),
    "filter without test": (
        _query(filter=types_pb2.Filter(none=[types_pb2.Condition()])),
        "INVALID_ARGUMENT FIELD_MISSING filter.none[0]",
    ),
    "filter too long": (
        _query(filter=types_pb2.Filter(any=[*_in_category("a").all] * 65)),
        "INVALID_ARGUMENT FIELD_OUT_OF_RANGE filter",
    ),
    "gate": (_query(category_gate=3), "UNIMPLEMENTED NOT_SUPPORTED_YET category_gate"),
    "dimension": (
        _query(query=_embedding([1.0] * 7)),
        "INVALID_ARGUMENT DIMENSION_MISMATCH query.embedding.values",
    ),
    "zero": (_query(query=_embedding([0.0] * 8)), "INVALID_ARGUMENT VECTOR_ZERO query.embedding.values"),
    "infinite": (
        _query(query=_embedding([math.inf] * 8)),
        "INVALID_ARGUMENT VECTOR_NOT_FINITE query.embedding.values",
    ),
    "model": (
        _query(query=_embedding([1.0] * 8, "model-b")),
        "FAILED_PRECONDITION MODEL_VERSION_MISMATCH query.embedding.model_version",
    ),
    "image empty": (_query(query=_image(b"")), "INVALID_ARGUMENT IMAGE_EMPTY query.image.content"),
    "image large": (_query(query=_image(BIG)), "INVALID_ARGUMENT IMAGE_TOO_LARGE query.image.content"),
    "image damaged": (_query(query=_image(b"damaged")), "INVALID_ARGUMENT IMAGE_DAMAGED query.image.content"),
    "second damaged": (
        _query(query=_images(b"photo", b"damaged")),
        "INVALID_ARGUMENT IMAGE_DAMAGED query.images.images[1].content",
    ),
    "region": (
        _query(query=_image(region=(0.5, 0, 0.5, 1))),
        "INVALID_ARGUMENT REGION_INVALID query.image.region",
    ),
    "region NaN": (
        _query(query=_image(region=(math.nan, 0, 1, 1))),
        "INVALID_ARGUMENT REGION_INVALID query.image.region",
    ),
    "no images": (_query(query=_images()), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE query.images.images"),
    "nine images": (
        _query(query=_images(*[b"p"] * 9)),
        "INVALID_ARGUMENT FIELD_OUT_OF_RANGE query.images.images",
    ),
    "images large": (
        _query(query=_images(*[b"p" * 2**21] * 7)),
        "INVALID_ARGUMENT IMAGE_TOO_LARGE query.images",
    ),
    "item id empty": (
        _query(query=search_pb2.Query(item_id="")),
        "INVALID_ARGUMENT FIELD_MISSING query.item_id",
    ),
    "item id long": (
        _query(query=search_pb2.Query(item_id="ä" * 65)),
        "INVALID_ARGUMENT FIELD_OUT_OF_RANGE query.item_id",
    ),
    "item unknown": (
        _query(query=search_pb2.Query(item_id="nobody")),
        "NOT_FOUND ITEM_NOT_FOUND query.item_id",
    ),
    "collection unknown": (_query(collection="nothing"), "NOT_FOUND COLLECTION_NOT_FOUND collection"),
    "collection malformed": (_query(collection="No!"), "INVALID_ARGUMENT FIELD_INVALID collection"),
    "no default": (_query(collection=""), "NOT_FOUND COLLECTION_NOT_FOUND collection"),
    "position": (_query(min_log_position="?"), "INVALID_ARGUMENT FIELD_INVALID min_log_position"),
}


async def test_bad_searches_get_their_code_reason_and_field(gateway: Gateway) -> None:
    await gateway.create()
    for name, (request, expected) in BAD_SEARCHES.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.search.Search(request)
        code, reason, field = details_of(caught.value)
        assert f"{code.name} {reason} {field}" == expected, name


async def test_hits_are_the_best_products_of_all_shards(gateway: Gateway) -> None:
    items = await gateway.fill(120, products=30)
    query = np.ones(8) / math.sqrt(8)
    matrix = np.array([upsert.embedding.values for upsert in items])
    cosines = matrix @ query / np.linalg.norm(matrix, axis=1)
    scores = {upsert.item.item_id: cosine for upsert, cosine in zip(items, cosines, strict=True)}
    best: dict[str, str] = {}
    for item_id in sorted(scores, key=lambda item_id: -scores[item_id]):
        best.setdefault(f"product-{int(item_id[5:]) % 30}", item_id)
    response = await gateway.search.Search(_query())
    assert [hit.item_id for hit in response.hits] == list(best.values())[:10]
    assert [hit.product_id for hit in response.hits] == list(best)[:10]
    ungrouped = await gateway.search.Search(_query(group_by_product=False, k=50, min_score=0.2))
    expected = [i for i in sorted(scores, key=lambda i: -scores[i]) if scores[i] >= 0.2][:50]
    assert [hit.item_id for hit in ungrouped.hits] == expected


async def test_shards_are_asked_with_the_filter_and_the_effort(gateway: Gateway) -> None:
    await gateway.fill(3, products=3)
    await gateway.search.Search(_query(filter=_in_category("Kitchen"), effort=0.25))
    for shard in gateway.shards:
        assert shard.searched[-1].filter == _in_category("Kitchen")
        assert shard.searched[-1].effort == 0.25
        assert not shard.searched[-1].HasField("probes")
    await gateway.search.Search(_query(filter=types_pb2.Filter(), probes=3))
    assert not gateway.shards[0].searched[-1].HasField("filter")
    assert not gateway.shards[0].searched[-1].HasField("effort")


async def test_coverage_timing_and_model_are_filled_in(gateway: Gateway) -> None:
    await gateway.fill(30, products=30)
    response = await gateway.search.Search(_query(query=IMAGE))
    coverage, timing = response.coverage, response.timing
    assert (coverage.shards_total, coverage.shards_answered) == (3, 3)
    assert coverage.codes_scanned == coverage.codes_total == 30
    assert coverage.degraded_reason == ""
    assert response.model_version == "model-a"
    assert timing.scan_seconds == pytest.approx(0.003)
    assert timing.encode_seconds == pytest.approx(0.001)
    parts = (timing.admit_seconds, timing.embed_seconds, timing.fanout_seconds, timing.merge_seconds)
    assert all(part > 0 for part in parts)
    assert sum(parts) <= timing.total_seconds
    assert [p.category.names[0] for p in response.predicted_categories] == ["meta-0", "meta-1", "meta-2"]


async def test_several_photos_are_averaged(gateway: Gateway) -> None:
    await gateway.create()
    response = await gateway.search.Search(_query(query=_images(b"one", b"two")))
    sent = np.frombuffer(gateway.shards[0].searched[-1].vectors_f32_le, "<f4")
    assert np.linalg.norm(sent) == pytest.approx(1)
    singles = []
    for content in (b"one", b"two"):
        await gateway.search.Search(_query(query=_image(content)))
        singles.append(np.frombuffer(gateway.shards[0].searched[-1].vectors_f32_le, "<f4"))
    mean = (singles[0] + singles[1]) / 2
    assert np.allclose(sent, mean / np.linalg.norm(mean), atol=1e-5)
    assert [round(p.probability, 4) for p in response.predicted_categories] == [0.4, 0.3, 0.2]


async def test_a_stored_item_is_left_out_of_its_own_answer(gateway: Gateway) -> None:
    await gateway.fill(40, products=40)
    query = search_pb2.Query(item_id="item-0007")
    response = await gateway.search.Search(_query(query=query, k=40, group_by_product=False))
    assert len(response.hits) == 39
    assert "item-0007" not in {hit.item_id for hit in response.hits}


async def test_a_lost_shard_shows_and_is_never_hidden(gateway: Gateway) -> None:
    await gateway.fill(60, products=60)
    gateway.shards[1].failure = UnavailableError("connection refused to 10.0.0.7")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(_query())
    assert details_of(caught.value)[:2] == (CODE.UNAVAILABLE, "COVERAGE_TOO_LOW")
    assert "10.0.0.7" not in caught.value.details()
    partial = await gateway.search.Search(_query(min_coverage=0.6))
    assert (partial.coverage.shards_answered, partial.coverage.shards_total) == (2, 3)
    assert partial.coverage.degraded_reason == "shard 1: unreachable"
    assert len(partial.hits) == 10


async def test_a_shard_without_the_generation_has_lost_data(gateway: Gateway) -> None:
    await gateway.fill(60, products=60)
    gateway.shards[2].generations.clear()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(_query())
    assert details_of(caught.value)[:2] == (CODE.UNAVAILABLE, "COVERAGE_TOO_LOW")
    assert "shard 2: its data is missing" in caught.value.details()


async def test_a_late_shard_is_left_behind_within_the_deadline(gateway: Gateway) -> None:
    await gateway.fill(60, products=60)
    gateway.shards[0].hangs = True
    partial = await gateway.search.Search(_query(min_coverage=0.5), timeout=3)
    assert partial.coverage.degraded_reason == "shard 0: too late"


async def test_an_item_on_a_lost_shard_is_not_unknown(gateway: Gateway) -> None:
    await gateway.fill(60, products=60)
    for shard in gateway.shards:
        shard.failure = UnavailableError("down")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(_query(query=search_pb2.Query(item_id="item-0001")))
    assert details_of(caught.value)[:2] == (CODE.UNAVAILABLE, "SHARD_UNAVAILABLE")


async def test_without_the_embedder_vectors_still_find(gateway: Gateway) -> None:
    await gateway.fill(10, products=10)
    gateway.embedder.failure = UnavailableError("down", reason=Reason.EMBEDDER_UNAVAILABLE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(_query(query=IMAGE))
    assert details_of(caught.value)[:2] == (CODE.UNAVAILABLE, "EMBEDDER_UNAVAILABLE")
    assert (await gateway.search.Search(_query())).hits
    info = await gateway.search.GetServerInfo(search_pb2.GetServerInfoRequest())
    assert (info.model_version, info.shards_total, info.limits.max_k) == ("", 3, 1000)


async def test_an_embedder_with_another_model_is_a_precondition(gateway: Gateway) -> None:
    await gateway.create()
    gateway.embedder.model_version = "model-b"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(_query(query=IMAGE))
    assert details_of(caught.value)[:2] == (CODE.FAILED_PRECONDITION, "MODEL_VERSION_MISMATCH")
    assert "model-a" in caught.value.details()


async def test_a_search_can_demand_a_write(gateway: Gateway) -> None:
    items = await gateway.fill(20, products=20)
    upsert = catalog_pb2.UpsertItemsRequest(collection="shop", items=items[:1])
    receipt = (await gateway.catalog.UpsertItems(upsert)).receipt
    await gateway.search.Search(_query(min_log_position=receipt.log_position))
    demanded = [shard.searched[-1].min_positions.get(0, 0) for shard in gateway.shards]
    assert sorted(demanded)[:2] == [0, 0]
    assert sorted(demanded)[2] == 2
    await gateway.create("other")
    for shard in gateway.shards:
        shard.failure = UnavailableError("behind", reason=Reason.LOG_POSITION_NOT_REACHED)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(_query(min_log_position=receipt.log_position))
    assert details_of(caught.value)[:2] == (CODE.UNAVAILABLE, "LOG_POSITION_NOT_REACHED")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(_query(collection="other", min_log_position=receipt.log_position))
    assert details_of(caught.value) == (CODE.INVALID_ARGUMENT, "FIELD_INVALID", "min_log_position")


async def test_multi_search_answers_each_for_itself(gateway: Gateway) -> None:
    await gateway.fill(20, products=20)
    searches = [_query(), _query(k=0), _query(query=IMAGE), _query(collection="nothing")]
    response = await gateway.search.MultiSearch(search_pb2.MultiSearchRequest(searches=searches))
    kinds = [result.WhichOneof("outcome") for result in response.results]
    assert kinds == ["response", "error", "response", "error"]
    assert error_from_status(response.results[1].error).field == "k"
    for count in (0, 65):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.search.MultiSearch(search_pb2.MultiSearchRequest(searches=[_query()] * count))
        assert details_of(caught.value)[::2] == (CODE.INVALID_ARGUMENT, "searches")


async def test_classify_checks_and_passes_on(gateway: Gateway) -> None:
    photo = types_pb2.Image(content=b"photo")
    cases = {
        "k": (search_pb2.ClassifyRequest(image=photo, k=101), CODE.INVALID_ARGUMENT, "FIELD_OUT_OF_RANGE"),
        "image.content": (search_pb2.ClassifyRequest(), CODE.INVALID_ARGUMENT, "IMAGE_EMPTY"),
        "": (search_pb2.ClassifyRequest(image=photo), CODE.FAILED_PRECONDITION, "MODEL_HAS_NO_CLASSIFIER"),
    }
    for field, (request, code, reason) in cases.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.search.Classify(request)
        assert details_of(caught.value) == (code, reason, field)


async def test_overload_is_refused_with_a_time_to_come_back(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(1, max_searches=1, max_waiting_searches=0)
    await gateway.fill(5, products=5)
    gateway.shards[0].hangs = True
    first, second = (asyncio.ensure_future(_outcome(gateway)) for _ in range(2))
    done, _ = await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
    (refused,) = done
    first.cancel()
    second.cancel()
    caught = refused.result()
    error = error_from_rpc(caught)
    assert isinstance(error, OverloadedError)
    assert error.retry_after_seconds > 0


async def _outcome(gateway: Gateway) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(_query(), timeout=5)
    return caught.value


async def test_later_calls_are_unimplemented(gateway: Gateway) -> None:
    calls = [
        gateway.search.Explain(search_pb2.ExplainRequest()),
        gateway.collections.CreateSnapshot(collection_pb2.CreateSnapshotRequest()),
        gateway.collections.RestoreSnapshot(collection_pb2.RestoreSnapshotRequest()),
        gateway.collections.ListSnapshots(collection_pb2.ListSnapshotsRequest()),
        gateway.collections.GetOperation(collection_pb2.GetOperationRequest()),
        gateway.collections.ListOperations(collection_pb2.ListOperationsRequest()),
        gateway.collections.CancelOperation(collection_pb2.CancelOperationRequest()),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert details_of(caught.value)[:2] == (CODE.UNIMPLEMENTED, "NOT_SUPPORTED_YET")
