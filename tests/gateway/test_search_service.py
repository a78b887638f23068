"""SearchService through a real server and channel."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

from lookalike.errors import OverloadedError, Reason, UnavailableError
from lookalike.v1 import catalog_pb2, collection_pb2, search_pb2, types_pb2
from lookalike.wire.status import error_from_rpc, error_from_status
from tests.gateway.searches import (
    CODE,
    IMAGE,
    details_of,
    in_category,
    photo_query,
    photos_query,
    search_request,
    vector_query,
)

if TYPE_CHECKING:
    from conftest import Gateway, StartGateway


async def test_hits_are_the_best_products_of_all_shards(gateway: Gateway) -> None:
    items = await gateway.fill(120, products=30)
    query = np.ones(8) / math.sqrt(8)
    matrix = np.array([upsert.embedding.values for upsert in items])
    cosines = matrix @ query / np.linalg.norm(matrix, axis=1)
    scores = {upsert.item.item_id: cosine for upsert, cosine in zip(items, cosines, strict=True)}
    best: dict[str, str] = {}
    for item_id in sorted(scores, key=lambda item_id: -scores[item_id]):
        best.setdefault(f"product-{int(item_id[5:]) % 30}", item_id)
    response = await gateway.search.Search(search_request())
    assert [hit.item_id for hit in response.hits] == list(best.values())[:10]
    assert [hit.product_id for hit in response.hits] == list(best)[:10]
    ungrouped = await gateway.search.Search(search_request(group_by_product=False, k=50, min_score=0.2))
    expected = [i for i in sorted(scores, key=lambda i: -scores[i]) if scores[i] >= 0.2][:50]
    assert [hit.item_id for hit in ungrouped.hits] == expected


async def test_shards_are_asked_with_the_filter_and_the_effort(gateway: Gateway) -> None:
    await gateway.fill(3, products=3)
    await gateway.search.Search(search_request(filter=in_category("Kitchen"), effort=0.25))
    for shard in gateway.shards:
        assert shard.searched[-1].filter == in_category("Kitchen")
        assert shard.searched[-1].effort == 0.25
        assert not shard.searched[-1].HasField("probes")
    await gateway.search.Search(search_request(filter=types_pb2.Filter(), probes=3))
    assert not gateway.shards[0].searched[-1].HasField("filter")
    assert not gateway.shards[0].searched[-1].HasField("effort")


async def test_coverage_timing_and_model_are_filled_in(gateway: Gateway) -> None:
    await gateway.fill(30, products=30)
    response = await gateway.search.Search(search_request(query=IMAGE))
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
    assert list(response.predicted_category.names) == ["meta-0"]


async def test_several_photos_are_averaged(gateway: Gateway) -> None:
    await gateway.create()
    response = await gateway.search.Search(search_request(query=photos_query(b"one", b"two")))
    sent = np.frombuffer(gateway.shards[0].searched[-1].vectors_f32_le, "<f4")
    singles = []
    for content in (b"one", b"two"):
        await gateway.search.Search(search_request(query=photo_query(content)))
        singles.append(np.frombuffer(gateway.shards[0].searched[-1].vectors_f32_le, "<f4"))
    assert np.allclose(sent, (singles[0] + singles[1]) / 2, atol=1e-5)
    assert [round(p.probability, 4) for p in response.predicted_categories] == [0.4, 0.3, 0.2]


async def test_a_stored_item_is_left_out_of_its_own_answer(gateway: Gateway) -> None:
    await gateway.fill(40, products=40)
    query = search_pb2.Query(item_id="item-0007")
    response = await gateway.search.Search(search_request(query=query, k=40, group_by_product=False))
    assert len(response.hits) == 39
    assert "item-0007" not in {hit.item_id for hit in response.hits}


async def test_a_score_can_be_demanded_again(gateway: Gateway) -> None:
    await gateway.create()
    vector = types_pb2.Embedding(values=[2, 1, 2, 0, 0, 0, 0, 0])
    upsert = catalog_pb2.UpsertItem(item=types_pb2.Item(item_id="a"), embedding=vector)
    await gateway.catalog.UpsertItems(catalog_pb2.UpsertItemsRequest(collection="shop", items=[upsert]))
    for sign in (1, -1):
        query = vector_query([sign * value for value in vector.values])
        (hit,) = (await gateway.search.Search(search_request(query=query))).hits
        assert hit.score == pytest.approx(sign)
        assert -1 <= hit.score <= 1
        again = await gateway.search.Search(search_request(query=query, min_score=hit.score))
        assert list(again.hits) == [hit]


SMALL_MESSAGES = 64 * 1024


async def _fill_with_large_items(gateway: Gateway, count: int) -> None:
    await gateway.create()
    for number in range(count):
        item = types_pb2.Item(item_id=f"i{number:03}", attributes={f"a{n}": "x" * 1000 for n in range(4)})
        upsert = catalog_pb2.UpsertItem(item=item, embedding=types_pb2.Embedding(values=[1.0] * 8))
        await gateway.catalog.UpsertItems(catalog_pb2.UpsertItemsRequest(collection="shop", items=[upsert]))


async def test_an_answer_that_is_too_large_is_the_callers_to_shrink(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(2, max_message_bytes=SMALL_MESSAGES)
    await _fill_with_large_items(gateway, 20)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(search_request(k=20))
    assert details_of(caught.value)[:2] == (CODE.INVALID_ARGUMENT, "BATCH_TOO_LARGE")
    assert len((await gateway.search.Search(search_request(k=10))).hits) == 10


async def test_answers_that_are_too_large_fail_alone(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(2, max_message_bytes=SMALL_MESSAGES)
    await _fill_with_large_items(gateway, 20)
    searches = [
        search_request(k=1),
        search_request(k=20),
        search_request(k=7),
        search_request(k=7),
        search_request(k=1),
    ]
    response = await gateway.search.MultiSearch(search_pb2.MultiSearchRequest(searches=searches))
    reasons = [
        error_from_status(result.error).reason if result.HasField("error") else len(result.response.hits)
        for result in response.results
    ]
    assert reasons[0] == reasons[4] == 1
    assert reasons[1] is Reason.BATCH_TOO_LARGE
    assert {reasons[2], reasons[3]} == {7, Reason.BATCH_TOO_LARGE}
    assert response.ByteSize() <= SMALL_MESSAGES


async def test_every_limit_is_reported(gateway: Gateway) -> None:
    limits = (await gateway.search.GetServerInfo(search_pb2.GetServerInfoRequest())).limits
    assert {field.name for field, _ in limits.ListFields()} == set(limits.DESCRIPTOR.fields_by_name)
    assert (limits.max_item_ids, limits.max_page_size, limits.max_images_per_query) == (1000, 1000, 8)
    assert (limits.max_filter_conditions, limits.max_filter_values) == (64, 1000)
    assert (limits.max_filter_bytes, limits.max_message_bytes) == (256 * 1024, 16 * 1024 * 1024)


async def test_an_embedder_with_another_model_is_a_precondition(gateway: Gateway) -> None:
    await gateway.create()
    gateway.embedder.model_version = "model-b"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(search_request(query=IMAGE))
    assert details_of(caught.value)[:2] == (CODE.FAILED_PRECONDITION, "MODEL_VERSION_MISMATCH")
    assert "model-a" in caught.value.details()


async def test_a_search_can_demand_a_write(gateway: Gateway) -> None:
    items = await gateway.fill(20, products=20)
    upsert = catalog_pb2.UpsertItemsRequest(collection="shop", items=items[:1])
    receipt = (await gateway.catalog.UpsertItems(upsert)).receipt
    await gateway.search.Search(search_request(min_log_position=receipt.log_position))
    demanded = [shard.searched[-1].min_positions.get(0, 0) for shard in gateway.shards]
    assert sorted(demanded)[:2] == [0, 0]
    assert sorted(demanded)[2] == 2
    await gateway.create("other")
    for shard in gateway.shards:
        shard.failure = UnavailableError("behind", reason=Reason.LOG_POSITION_NOT_REACHED)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(search_request(min_log_position=receipt.log_position))
    assert details_of(caught.value)[:2] == (CODE.UNAVAILABLE, "LOG_POSITION_NOT_REACHED")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(search_request(collection="other", min_log_position=receipt.log_position))
    assert details_of(caught.value) == (CODE.INVALID_ARGUMENT, "FIELD_INVALID", "min_log_position")


async def test_multi_search_answers_each_for_itself(gateway: Gateway) -> None:
    await gateway.fill(20, products=20)
    searches = [
        search_request(),
        search_request(k=0),
        search_request(query=IMAGE),
        search_request(collection="nothing"),
    ]
    response = await gateway.search.MultiSearch(search_pb2.MultiSearchRequest(searches=searches))
    kinds = [result.WhichOneof("outcome") for result in response.results]
    assert kinds == ["response", "error", "response", "error"]
    assert error_from_status(response.results[1].error).field == "k"
    for count in (0, 65):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.search.MultiSearch(
                search_pb2.MultiSearchRequest(searches=[search_request()] * count)
            )
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
        await gateway.search.Search(search_request(), timeout=5)
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
