"""Bulk loading through a real server and channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import grpc
import pytest

from gateway.ingest import BatchSizer
from lookalike.errors import FailedPreconditionError, OverloadedError, Reason, UnavailableError
from lookalike.v1 import catalog_pb2, collection_pb2, hasher_pb2, types_pb2
from lookalike.wire.status import error_from_rpc, error_from_status

if TYPE_CHECKING:
    from conftest import FakeShard, Gateway, StartGateway


def _item(item_id: str, photo: bytes) -> catalog_pb2.UpsertItem:
    return catalog_pb2.UpsertItem(item=types_pb2.Item(item_id=item_id), image=types_pb2.Image(content=photo))


async def _count(gateway: Gateway) -> int:
    return (await gateway.catalog.CountItems(catalog_pb2.CountItemsRequest(collection="shop"))).item_count


Requests = list[catalog_pb2.IngestItemsRequest]
START = catalog_pb2.IngestItemsRequest(start=catalog_pb2.IngestStart(collection="shop"))


def _batch(request_id: str, *items: catalog_pb2.UpsertItem) -> catalog_pb2.IngestItemsRequest:
    return catalog_pb2.IngestItemsRequest(batch=catalog_pb2.IngestBatch(request_id=request_id, items=items))


async def _ingest(gateway: Gateway, requests: Requests) -> list[catalog_pb2.IngestItemsResponse]:
    return [response async for response in gateway.catalog.IngestItems(iter(requests))]


async def test_ingest_answers_each_batch_in_order(gateway: Gateway) -> None:
    await gateway.create()
    batches = [_batch(f"b{n}", *(_item(f"i{n}-{m}", b"p%d-%d" % (n, m)) for m in range(5))) for n in range(6)]
    batches[3].batch.items[2].image.content = b"damaged"
    responses = await _ingest(gateway, [START, *batches])
    assert [response.request_id for response in responses] == ["", *(f"b{n}" for n in range(6))]
    assert all(1 <= response.next_batch_size <= 256 for response in responses)
    assert not any(response.drain for response in responses)
    (failure,) = responses[4].failures
    assert failure.item_id == "i3-2"
    assert error_from_status(failure.error).field == "batch.items[2].image.content"
    assert len(responses[4].acknowledged_item_ids) == 4
    assert all(response.receipt.log_position for response in responses[1:])
    assert await _count(gateway) == 29


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ([], "FIELD_MISSING start"),
        ([_batch("b", _item("a", b"p"))], "FIELD_MISSING start"),
        ([START, START], "FIELD_INVALID batch"),
        ([START, _batch("b")], "FIELD_MISSING batch.items"),
        (
            [START, _batch("b", _item("a", b"p"), _item("a", b"p"))],
            "PRODUCT_CONFLICT batch.items[1].item.item_id",
        ),
        (
            [catalog_pb2.IngestItemsRequest(start=catalog_pb2.IngestStart(collection="nothing"))],
            "COLLECTION_NOT_FOUND collection",
        ),
    ],
)
async def test_bad_ingest_streams_end_with_the_reason(
    gateway: Gateway, requests: Requests, expected: str
) -> None:
    await gateway.create()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _ingest(gateway, requests)
    error = error_from_rpc(caught.value)
    assert f"{error.reason} {error.field}" == expected


async def test_what_came_before_a_bad_batch_is_acknowledged(gateway: Gateway) -> None:
    await gateway.create()
    stream = gateway.catalog.IngestItems(iter([START, _batch("good", _item("a", b"p")), _batch("bad")]))
    assert (await stream.read()).request_id == ""
    assert list((await stream.read()).acknowledged_item_ids) == ["a"]
    with pytest.raises(grpc.aio.AioRpcError):
        await stream.read()
    assert await _count(gateway) == 1


def _watch_writes(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, at_once: int) -> list[set[str]]:
    """Holds writes until so many are under way; returns those that were, as each began."""
    under_way: list[str] = []
    seen: list[set[str]] = []
    enough = asyncio.Event()

    def watched(shard: FakeShard) -> Callable[..., Awaitable[hasher_pb2.ApplyResponse]]:
        apply = shard.apply

        async def watch(request: hasher_pb2.ApplyRequest, **options: float) -> hasher_pb2.ApplyResponse:
            under_way.append(request.request_id)
            seen.append(set(under_way))
            if len(seen[-1]) >= at_once:
                enough.set()
            try:
                await enough.wait()
                return await apply(request, **options)
            finally:
                under_way.remove(request.request_id)

        return watch

    for shard in gateway.shards:
        monkeypatch.setattr(shard, "apply", watched(shard))
    return seen


async def test_batches_without_a_common_item_are_written_at_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.create()
    seen = _watch_writes(gateway, monkeypatch, at_once=3)
    batches = [_batch(f"b{n}", *(_item(f"i{n}-{m}", b"p%d" % m) for m in range(9))) for n in range(9)]
    responses = await _ingest(gateway, [START, *batches])
    assert [response.request_id for response in responses[1:]] == [f"b{n}" for n in range(9)]
    assert max(map(len, seen)) == 3
    assert await _count(gateway) == 81


async def test_batches_with_a_common_item_are_written_in_turn(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.create()
    seen = _watch_writes(gateway, monkeypatch, at_once=1)
    batches = [_batch(f"b{n}", _item("same", b"p%d" % n), _item(f"i{n}", b"p")) for n in range(6)]
    await _ingest(gateway, [START, *batches])
    assert all(len(together) == 1 for together in seen)
    await _ingest(gateway, [START, *batches])
    assert await _count(gateway) == 7


async def test_ingest_on_a_lost_shard_ends_and_goes_on_later(gateway: Gateway) -> None:
    await gateway.create()
    batch = _batch("b", *(_item(f"i{n}", b"p%d" % n) for n in range(30)))
    gateway.shards[1].failure = UnavailableError("down")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _ingest(gateway, [START, batch])
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    gateway.shards[1].failure = None
    await _ingest(gateway, [START, batch, batch])
    assert [generation.position for generation in gateway.on_shards()] == [1, 1, 1]


async def test_ingest_ends_when_its_collection_is_deleted(gateway: Gateway) -> None:
    await gateway.create()
    call = gateway.catalog.IngestItems()
    await call.write(START)
    await call.read()
    await gateway.collections.DeleteCollection(collection_pb2.DeleteCollectionRequest(name="shop"))
    await call.write(_batch("b0", *(_item(f"i{n}", b"p%d" % n) for n in range(8))))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert error_from_rpc(caught.value).reason is Reason.COLLECTION_NOT_FOUND


async def test_a_load_names_its_generation_and_is_pinned_to_it(gateway: Gateway) -> None:
    await gateway.create("blue")
    await gateway.create("green")
    await gateway.directory.set_alias("shop", "blue")
    (first,) = await _ingest(gateway, [START])
    assert (first.collection, first.generation) == ("blue", gateway.generation("blue"))
    start = catalog_pb2.IngestStart(collection="shop", generation=first.generation)
    pinned = catalog_pb2.IngestItemsRequest(start=start)
    responses = await _ingest(gateway, [pinned, _batch("b", _item("a", b"p"))])
    assert [r.generation for r in responses] == [first.generation, ""]
    await gateway.directory.set_alias("shop", "green")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _ingest(gateway, [pinned])
    error = error_from_rpc(caught.value)
    assert isinstance(error, FailedPreconditionError)
    assert (error.reason, error.field) == (Reason.GENERATION_MOVED, "start.generation")
    start.collection = "blue"
    await _ingest(gateway, [catalog_pb2.IngestItemsRequest(start=start)])


async def test_an_idle_load_ends_and_can_be_opened_again(start_gateway: StartGateway) -> None:
    """Each holds one of the server's few streams."""
    gateway = await start_gateway(1, stream_idle_seconds=0.2, max_concurrent_streams=1)
    await gateway.create()
    for request_id in ("a", "b"):
        call = gateway.catalog.IngestItems()
        await call.write(START)
        await call.write(_batch(request_id, _item(request_id, b"p")))
        assert (await call.read()).generation
        assert list((await call.read()).acknowledged_item_ids) == [request_id]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert error_from_rpc(caught.value).reason is Reason.STREAM_IDLE
    assert await _count(gateway) == 2


async def test_ingest_ends_when_its_collection_is_made_again(gateway: Gateway) -> None:
    await gateway.create()
    call = gateway.catalog.IngestItems()
    await call.write(START)
    await call.read()
    await gateway.collections.DeleteCollection(collection_pb2.DeleteCollectionRequest(name="shop"))
    await gateway.create()
    await call.write(_batch("b0", *(_item(f"i{n}", b"p%d" % n) for n in range(8))))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert error_from_rpc(caught.value).reason is Reason.GENERATION_MOVED
    assert await _count(gateway) == 0


async def test_ingest_waits_for_an_overloaded_embedder(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.create()
    embed, refusals = gateway.embedder.embed, [OverloadedError("full", retry_after_seconds=0.01)] * 3

    async def sometimes(*args: object, **kwargs: object) -> object:
        if refusals:
            raise refusals.pop()
        return await embed(*args, **kwargs)

    monkeypatch.setattr(gateway.embedder, "embed", sometimes)
    responses = await _ingest(gateway, [START, _batch("b", _item("a", b"photo"))])
    assert list(responses[-1].acknowledged_item_ids) == ["a"]


async def test_drain_is_announced_to_an_idle_stream_and_open_batches_are_finished(gateway: Gateway) -> None:
    await gateway.create()
    go_on = asyncio.Event()

    async def requests() -> AsyncIterator[catalog_pb2.IngestItemsRequest]:
        yield START
        await go_on.wait()
        yield _batch("late", _item("a", b"p"))

    stream = gateway.catalog.IngestItems(requests())
    assert not (await stream.read()).drain
    gateway.runner.draining.set()
    announced = await stream.read()
    assert (announced.request_id, announced.drain) == ("", True)
    go_on.set()
    last = await stream.read()
    assert (last.request_id, last.drain, list(last.acknowledged_item_ids)) == ("late", True, ["a"])
    assert await stream.read() is grpc.aio.EOF


def test_batches_grow_to_a_second_of_work_and_stay_below_the_message_limit() -> None:
    sizer, sizes = BatchSizer(), []
    for _ in range(6):
        sizer.observe(sizer.size, 0.001 * sizer.size, 1000)
        sizes.append(sizer.size)
    assert sizes == [64, 128, 256, 256, 256, 256]
    sizer.observe(256, 256.0, 1000)
    assert sizer.size == 128
    for _ in range(20):
        sizer.observe(sizer.size, 10.0 * sizer.size, 1000)
    assert sizer.size == 1
    for _ in range(20):
        sizer.observe(sizer.size, 0.001, sizer.size * 1024 * 1024)
    assert sizer.size == 8
