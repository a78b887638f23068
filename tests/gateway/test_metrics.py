"""What the gateway shows of searches, writes, bulk loads, and of the services that it calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
import pytest

from gateway.outcome import CAUSES, cause_of
from gateway.peers import SilentError, UnreachableError
from lookalike.errors import (
    DataLossError,
    DeadlineError,
    FailedPreconditionError,
    LookalikeError,
    NotFoundError,
    OverloadedError,
    Reason,
    UnavailableError,
)
from lookalike.v1 import catalog_pb2, search_pb2, types_pb2
from tests.gateway.searches import IMAGE, search_request

if TYPE_CHECKING:
    from conftest import Gateway, StartGateway


async def test_waiting_and_looking_up_are_not_admitting(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_searches=1, search_burst_seconds=60)
    await gateway.fill(30, products=30)
    for shard in gateway.shards:
        shard.delay_seconds = 0.1
    by_item = search_request(query=search_pb2.Query(item_id="item-0001"))
    await asyncio.gather(*(gateway.search.Search(by_item) for _ in range(2)))
    assert gateway.sample("stage_seconds_count", stage="slot") == 2
    assert gateway.sample("stage_seconds_sum", stage="slot") > 0.15, "the second waited for the first"
    assert gateway.sample("stage_seconds_sum", stage="lookup") > 0.15
    assert gateway.sample("stage_seconds_count", stage="admit") == 2
    assert gateway.sample("stage_seconds_sum", stage="admit") < 0.1


async def test_a_search_without_a_slot_spent_its_time_on_waiting(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_searches=1, search_burst_seconds=60)
    await gateway.fill(3, products=3)
    for shard in gateway.shards:
        shard.delay_seconds = 0.5
    running = asyncio.ensure_future(gateway.search.Search(search_request()))
    await asyncio.sleep(0.1)
    with pytest.raises(grpc.aio.AioRpcError):
        await gateway.search.Search(search_request(), timeout=0.15)
    await running
    # The server may notice a little later than the caller.
    assert await _becomes(gateway, 1, "refused_total", what="vector_searches", cause="late")
    assert gateway.sample("stage_seconds_count", stage="slot") == 2
    assert gateway.sample("stage_seconds_sum", stage="slot") > 0.1
    assert gateway.sample("stage_seconds_count", stage="admit") == 1


async def test_each_shard_shows_how_long_it_takes_and_how_it_fails(gateway: Gateway) -> None:
    await gateway.fill(30, products=30)
    gateway.shards[1].delay_seconds = 0.2
    gateway.shards[2].failure = UnavailableError("full", reason=Reason.DISK_FULL)
    await gateway.search.Search(search_request(min_coverage=0.5))
    fast, slow = (gateway.sample("shard_seconds_sum", call="search", shard=shard) for shard in ("0", "1"))
    assert slow > 0.2 > fast
    assert gateway.sample("shard_seconds_count", call="search", shard="2") is None
    assert gateway.sample("shard_failures_total", shard="2", cause="disk_full") == 1


async def test_failures_and_silence_show_before_the_first(gateway: Gateway) -> None:
    for shard in ("0", "1", "2"):
        assert gateway.sample("shard_silent", shard=shard) == 0
        for cause in CAUSES:
            assert gateway.sample("shard_failures_total", shard=shard, cause=cause) == 0
    for what in ("vector_searches", "photo_searches", "exact_searches", "writes"):
        for cause in ("full", "stale", "late"):
            assert gateway.sample("refused_total", what=what, cause=cause) == 0
    for operation in ("upsert", "delete"):
        assert gateway.sample("items_refused_total", operation=operation) == 0
    handled = gateway.runner._metrics.registry.get_sample_value
    method = {"grpc_type": "unary", "grpc_service": "lookalike.v1.SearchService", "grpc_method": "Search"}
    for code in ("OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"):
        assert handled("grpc_server_handled_total", method | {"grpc_code": code}) == 0


async def test_calls_that_were_given_up_are_timed(gateway: Gateway) -> None:
    await gateway.fill(30, products=30)
    gateway.shards[0].hangs = True
    await gateway.search.Search(search_request(min_coverage=0.5))
    await gateway.search.Search(search_request(min_coverage=0.5))
    assert gateway.sample("shard_failures_total", shard="0", cause="late") == 2
    assert gateway.sample("shard_seconds_count", call="search", shard="0") == 2


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (DeadlineError("x"), "late"),
        (SilentError("x"), "silent"),
        (UnreachableError("x"), "unreachable"),
        (OverloadedError("x", retry_after_seconds=1), "overloaded"),
        (NotFoundError("x"), "data"),
        (DataLossError("x"), "data"),
        (UnavailableError("x", reason=Reason.LOG_POSITION_NOT_REACHED), "behind"),
        (UnavailableError("x", reason=Reason.DISK_FULL), "disk_full"),
        (UnavailableError("x", reason=Reason.SHUTTING_DOWN), "stopping"),
        (FailedPreconditionError("x", reason=Reason.SHARD_LAYOUT_MISMATCH), "misplaced"),
        (LookalikeError("x"), "failed"),
    ],
)
def test_causes_of_failures(error: LookalikeError, cause: str) -> None:
    assert cause_of(error) == cause
    assert cause in CAUSES


async def test_the_embedder_shows_how_it_answers(gateway: Gateway) -> None:
    await gateway.fill(3, products=3)
    await gateway.search.Search(search_request(query=IMAGE))
    assert gateway.sample("embedder_seconds_count", call="embed") == 1
    assert gateway.sample("embedder_model_info", model_version="model-a") == 1
    gateway.embedder.failure = DeadlineError("late")
    with pytest.raises(grpc.aio.AioRpcError):
        await gateway.search.Search(search_request(query=IMAGE))
    assert gateway.sample("embedder_seconds_count", call="embed") == 2
    assert gateway.sample("embedder_failures_total", call="embed", cause="late") == 1
    gateway.embedder.failure, gateway.embedder.model_version = None, "model-b"
    with pytest.raises(grpc.aio.AioRpcError):
        await gateway.search.Search(search_request(query=IMAGE))
    assert gateway.sample("embedder_failures_total", call="embed", cause="failed") == 0


async def test_stages_of_writes_also_of_failed_ones(gateway: Gateway) -> None:
    await gateway.fill(3, products=3)
    item = types_pb2.Item(item_id="photo")
    photo = catalog_pb2.UpsertItem(item=item, image=types_pb2.Image(content=b"photo"))
    damaged = catalog_pb2.UpsertItem(
        item=types_pb2.Item(item_id="bad"), image=types_pb2.Image(content=b"damaged")
    )
    request = catalog_pb2.UpsertItemsRequest(collection="shop", items=[photo, damaged])
    await gateway.catalog.UpsertItems(request)
    for stage, count in {"slot": 2, "check": 2, "embed": 1, "convert": 2, "append": 2}.items():
        assert gateway.sample("write_seconds_count", stage=stage) == count
    assert gateway.sample("items_written_total", operation="upsert") == 4
    assert gateway.sample("items_refused_total", operation="upsert") == 1
    gateway.embedder.failure = UnavailableError("down")
    with pytest.raises(grpc.aio.AioRpcError):
        await gateway.catalog.UpsertItems(request)
    gateway.embedder.failure = None
    for shard in gateway.shards:
        shard.failure = UnavailableError("down")
    with pytest.raises(grpc.aio.AioRpcError):
        await gateway.catalog.UpsertItems(request)
    for stage, count in {"slot": 4, "check": 4, "embed": 3, "convert": 3, "append": 3}.items():
        assert gateway.sample("write_seconds_count", stage=stage) == count


async def test_batches_of_bulk_loads_are_timed(gateway: Gateway) -> None:
    await gateway.create()

    async def requests() -> AsyncIterator[catalog_pb2.IngestItemsRequest]:
        yield catalog_pb2.IngestItemsRequest(start=catalog_pb2.IngestStart(collection="shop"))
        for number in range(2):
            item = types_pb2.Item(item_id=f"i{number}")
            embedding = types_pb2.Embedding(values=[1.0] * 8)
            batch = catalog_pb2.IngestBatch(
                request_id=f"r{number}", items=[catalog_pb2.UpsertItem(item=item, embedding=embedding)]
            )
            yield catalog_pb2.IngestItemsRequest(batch=batch)

    answers = [answer async for answer in gateway.catalog.IngestItems(requests())]
    assert len(answers) == 3
    for stage in ("prepare", "wait", "write"):
        assert gateway.sample("ingest_seconds_count", stage=stage) == 2
    assert gateway.sample("ingest_batch_items_sum") == 2
    assert gateway.sample("ingest_pauses_total") == 0


async def test_collections_show_by_state_and_model(gateway: Gateway) -> None:
    await gateway.create("one")
    await gateway.create("two")
    gateway.embedder.model_version = "model-b"
    await gateway.create("three")
    assert gateway.sample("collections", state="ready") == 3
    assert gateway.sample("collections", state="creating") == 0
    assert gateway.sample("model_collections", model_version="model-a") == 2
    assert gateway.sample("model_collections", model_version="model-b") == 1


async def test_a_search_leads_to_its_trace(gateway: Gateway) -> None:
    await gateway.fill(3, products=3)
    metrics = gateway.runner._metrics
    metrics.exemplar = lambda: {"trace_id": "abc"}
    await gateway.search.Search(search_request())
    traced = {
        sample.labels["stage"]
        for family in metrics.registry.collect()
        if family.name == "lookalike_gateway_stage_seconds"
        for sample in family.samples
        if sample.exemplar
    }
    assert {"slot", "admit", "fanout", "merge"} <= traced


async def _becomes(gateway: Gateway, value: float, metric: str, **labels: str) -> bool:
    for _ in range(200):
        if gateway.sample(metric, **labels) == value:
            return True
        await asyncio.sleep(0.01)
    return False
