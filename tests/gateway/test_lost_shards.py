"""Searches while a shard or the embedder is lost, late, or not what it should be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import grpc
import pytest
import structlog

from gateway.peers import UnreachableError
from lookalike.errors import DataLossError, Reason, UnavailableError
from lookalike.v1 import catalog_pb2, collection_pb2, search_pb2
from lookalike.wire.status import error_from_rpc
from tests.gateway.searches import (
    CODE,
    IMAGE,
    details_of,
    search_request,
)

if TYPE_CHECKING:
    from conftest import Gateway


async def test_a_lost_shard_shows_and_is_never_hidden(gateway: Gateway) -> None:
    await gateway.fill(60, products=60)
    gateway.shards[1].failure = UnreachableError("connection refused to 10.0.0.7")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(search_request())
    assert details_of(caught.value)[:2] == (CODE.UNAVAILABLE, "COVERAGE_TOO_LOW")
    assert "10.0.0.7" not in caught.value.details()
    partial = await gateway.search.Search(search_request(min_coverage=0.6))
    assert (partial.coverage.shards_answered, partial.coverage.shards_total) == (2, 3)
    assert partial.coverage.degraded_reason == "shard 1: unreachable"
    assert len(partial.hits) == 10


async def test_one_hasher_in_two_places_is_never_complete(gateway: Gateway) -> None:
    """Its answers would pass for those of a shard that was never asked."""
    await gateway.fill(60, products=60)
    gateway.shards[1].number = 0
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(search_request())
    assert details_of(caught.value)[:2] == (CODE.UNAVAILABLE, "COVERAGE_TOO_LOW")
    partial = await gateway.search.Search(search_request(min_coverage=0.5))
    assert partial.coverage.degraded_reason == "shard 1: it holds other partitions than expected"
    gateway.shards[1].number = 1
    gateway.shards[1].installation_id = "another"
    partial = await gateway.search.Search(search_request(min_coverage=0.5))
    assert partial.coverage.degraded_reason == "shard 1: it belongs to another installation"


async def test_a_shard_without_the_generation_has_lost_data(gateway: Gateway) -> None:
    await gateway.fill(60, products=60)
    gateway.shards[2].generations.clear()
    for also_down in (False, True):
        gateway.shards[0].failure = UnreachableError("down") if also_down else None
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.search.Search(search_request())
        # No answer of the others would be enough: not worth a retry.
        assert details_of(caught.value)[:2] == (CODE.DATA_LOSS, "STORE_DAMAGED")
        assert "shard 2: its data is missing" in caught.value.details()
        assert error_from_rpc(caught.value).metadata == {"shards_without_data": "2"}
        result = (
            await gateway.search.MultiSearch(search_pb2.MultiSearchRequest(searches=[search_request()]))
        ).results[0]
        assert result.error.code == CODE.DATA_LOSS.value[0]
    partial = await gateway.search.Search(search_request(min_coverage=0.3))
    assert (partial.coverage.shards_answered, partial.coverage.shards_total) == (1, 3)


async def test_lost_data_is_not_blamed_for_what_the_other_shards_lack(gateway: Gateway) -> None:
    await gateway.fill(60, products=60)
    gateway.shards[2].generations.clear()
    gateway.shards[0].failure = UnreachableError("down")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(search_request(min_coverage=0.6))
    assert details_of(caught.value)[:2] == (CODE.UNAVAILABLE, "COVERAGE_TOO_LOW")


async def test_damaged_data_is_lost_too(gateway: Gateway) -> None:
    await gateway.fill(60, products=60)
    gateway.shards[1].failure = DataLossError("page 7")
    for call in (
        gateway.search.Search(search_request()),
        gateway.catalog.CountItems(catalog_pb2.CountItemsRequest(collection="shop")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert details_of(caught.value)[:2] == (CODE.DATA_LOSS, "STORE_DAMAGED")
        # A repair would find nothing to do.
        assert "shard 1: its data is damaged; " in caught.value.details()
        assert "repair" not in caught.value.details()


async def test_for_lost_data_no_retry_is_advised(gateway: Gateway) -> None:
    items = await gateway.fill(60, products=60)
    gateway.shards[2].generations.clear()
    lost = [item.item.item_id for item in items]
    calls = (
        gateway.collections.GetCollection(collection_pb2.GetCollectionRequest(name="shop")),
        gateway.catalog.CountItems(catalog_pb2.CountItemsRequest(collection="shop")),
        gateway.catalog.GetItems(catalog_pb2.GetItemsRequest(collection="shop", item_ids=lost)),
        gateway.catalog.ListItems(catalog_pb2.ListItemsRequest(collection="shop")),
        gateway.catalog.UpsertItems(catalog_pb2.UpsertItemsRequest(collection="shop", items=items)),
    )
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert details_of(caught.value)[:2] == (CODE.DATA_LOSS, "STORE_DAMAGED")
        assert "repair the collection" in caught.value.details()


@pytest.mark.parametrize(
    "call",
    [
        lambda gateway: gateway.catalog.CountItems(catalog_pb2.CountItemsRequest(collection="shop")),
        lambda gateway: gateway.search.Search(search_request()),
        lambda gateway: gateway.search.Search(search_request(query=search_pb2.Query(item_id="item-0001"))),
    ],
    ids=["count", "search", "search by item"],
)
async def test_what_is_deleted_meanwhile_is_not_lost(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, call: Callable[[Gateway], Awaitable[object]]
) -> None:
    await gateway.fill(6, products=6)
    found = gateway.directory.resolve("shop")
    await gateway.directory.begin_delete("shop")
    for shard in gateway.shards:
        shard.generations.clear()
    with monkeypatch.context() as patch:
        real = gateway.directory.resolve
        answers = iter([found])
        patch.setattr(gateway.directory, "resolve", lambda *names: next(answers, None) or real(*names))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(gateway)
    assert details_of(caught.value)[:2] == (CODE.NOT_FOUND, "COLLECTION_NOT_FOUND")


async def test_a_late_shard_is_left_behind_within_the_deadline(gateway: Gateway) -> None:
    await gateway.fill(60, products=60)
    gateway.shards[0].hangs = True
    partial = await gateway.search.Search(search_request(min_coverage=0.5), timeout=30)
    assert partial.coverage.degraded_reason == "shard 0: too late"


async def test_a_shard_with_the_demanded_write_is_waited_for(gateway: Gateway) -> None:
    items = await gateway.fill(20, products=20)
    upsert = catalog_pb2.UpsertItemsRequest(collection="shop", items=items[:1])
    receipt = (await gateway.catalog.UpsertItems(upsert)).receipt
    (number,) = (n for n, shard in enumerate(gateway.shards) if "item-0000" in gateway.on_shards()[n].rows)
    gateway.shards[number].delay_seconds = 0.3
    answer = await gateway.search.Search(
        search_request(min_coverage=0.3, min_log_position=receipt.log_position), timeout=30
    )
    assert f"shard {number}" not in answer.coverage.degraded_reason


async def test_stages_of_failed_searches_are_measured_too(gateway: Gateway) -> None:
    await gateway.fill(30, products=30)
    gateway.embedder.failure = UnavailableError("down")
    with pytest.raises(grpc.aio.AioRpcError):
        await gateway.search.Search(search_request(query=IMAGE))
    assert gateway.sample("stage_seconds_count", stage="embed") == 1
    with pytest.raises(grpc.aio.AioRpcError):
        await gateway.search.Search(search_request(k=0))
    assert gateway.sample("stage_seconds_count", stage="admit") == 2
    gateway.shards[0].hangs = True
    with pytest.raises(grpc.aio.AioRpcError):
        await gateway.search.Search(search_request(), timeout=2)
    gateway.shards[0].hangs, gateway.shards[0].failure = False, UnavailableError("down")
    with pytest.raises(grpc.aio.AioRpcError):
        await gateway.search.Search(search_request())
    assert gateway.sample("stage_seconds_count", stage="fanout") == 2
    assert gateway.sample("coverage_ratio_count") == 2
    assert gateway.sample("coverage_ratio_sum") == pytest.approx(4 / 3)


async def test_what_a_shard_says_reaches_the_caller(gateway: Gateway) -> None:
    await gateway.fill(30, products=30)
    gateway.shards[2].failure = UnavailableError("the disk of the shard is full", reason=Reason.DISK_FULL)
    partial = await gateway.search.Search(search_request(min_coverage=0.5))
    assert partial.coverage.degraded_reason == "shard 2: the disk of the shard is full"


async def test_an_item_on_a_lost_shard_is_not_unknown(gateway: Gateway) -> None:
    await gateway.fill(60, products=60)
    for shard in gateway.shards:
        shard.failure = UnavailableError("down")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(search_request(query=search_pb2.Query(item_id="item-0001")))
    assert details_of(caught.value)[:2] == (CODE.UNAVAILABLE, "SHARD_UNAVAILABLE")


async def test_without_the_embedder_vectors_still_find(gateway: Gateway) -> None:
    await gateway.fill(10, products=10)
    gateway.embedder.failure = UnavailableError("down", reason=Reason.EMBEDDER_UNAVAILABLE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.search.Search(search_request(query=IMAGE))
    assert details_of(caught.value)[:2] == (CODE.UNAVAILABLE, "EMBEDDER_UNAVAILABLE")
    assert (await gateway.search.Search(search_request())).hits
    info = await gateway.search.GetServerInfo(search_pb2.GetServerInfoRequest())
    assert (info.model_version, info.shards_total, info.limits.max_k) == ("", 3, 1000)


async def test_a_shard_that_stays_away_is_not_a_line_for_each_search(gateway: Gateway) -> None:
    await gateway.create()
    gateway.shards[1].failure = UnavailableError("gone")
    with structlog.testing.capture_logs() as lines:
        for _ in range(20):
            await gateway.search.Search(search_request(min_coverage=0.5))
    partial = [line for line in lines if line["event"] == "slow_or_partial_search"]
    assert 1 <= len(partial) < 10
