"""Bulk loads through both clients: batches, failures, broken and drained streams."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import grpc
import pytest

from lookalike.client import AsyncClient, Client, IngestProgress, IngestReport, Item
from lookalike.client.failures import stream_error
from lookalike.client.ingest import BATCH_BYTES, IngestPlan
from lookalike.errors import (
    DeadlineError,
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    NotFoundError,
    Reason,
    UnavailableError,
)
from lookalike.v1 import catalog_pb2, collection_pb2


@pytest.fixture(params=["sync", "async"])
def ingest(request: pytest.FixtureRequest, target: str) -> Any:
    async def run(items: Any, **options: Any) -> IngestReport:
        if request.param == "sync":
            with Client(target) as client:
                return await asyncio.to_thread(client.ingest, items, **options)
        async with AsyncClient(target) as client:
            return await client.ingest(items, **options)

    return run


def items(count: int) -> list[Item]:
    return [Item(item_id=f"i{number:03}", image=b"jpeg") for number in range(count)]


async def test_ingest_loads_all_in_batches_of_the_size_the_server_asks_for(ingest: Any, store: Any) -> None:
    seen: list[IngestProgress] = []
    report = await ingest(iter(items(23)), on_progress=seen.append)
    assert sorted(store.items) == [f"i{number:03}" for number in range(23)]
    assert store.batch_sizes == [5, 5, 5, 5, 3]
    assert (report.acknowledged_count, report.failures, report.reconnects) == (23, (), 0)
    assert report.receipt is not None
    assert report.receipt.log_position == "p23"
    counts = [progress.acknowledged_count for progress in seen]
    assert counts == sorted(counts)
    assert counts[-1] == 23


async def test_ingest_of_nothing_still_checks_the_collection(ingest: Any) -> None:
    assert (await ingest([])).acknowledged_count == 0
    with pytest.raises(NotFoundError):
        await ingest([], collection="ghost")


async def test_bad_photos_are_reported_and_end_nothing(ingest: Any, tmp_path: Path) -> None:
    load = [
        Item(item_id="missing", image=tmp_path / "missing.jpg"),
        *items(7),
        Item(item_id="damaged", image=b"bad"),
        Item(item_id="bare"),
    ]
    report = await ingest(load)
    assert report.acknowledged_count == 7
    reasons = {failure.item_id: failure.error.reason for failure in report.failures}
    assert reasons == {
        "missing": Reason.FIELD_INVALID,
        "damaged": Reason.IMAGE_DAMAGED,
        "bare": Reason.FIELD_MISSING,
    }


@pytest.mark.parametrize("in_flight", [1, 3])
async def test_a_broken_stream_is_resumed_under_the_same_request_ids(
    ingest: Any, store: Any, in_flight: int
) -> None:
    store.break_after_batches = 3
    report = await ingest(items(40), max_in_flight=in_flight)
    assert report.reconnects == 1
    assert store.streams == 2
    assert len(store.items) == 40
    assert report.acknowledged_count == 40
    # The batch that was written but not answered came again under its id; nothing came a third time.
    assert max(store.applied.values()) == 2
    assert len(store.applied) == 8


async def test_a_resumed_load_names_the_generation_that_it_began_with(ingest: Any, store: Any) -> None:
    store.break_after_batches = 3
    store.aliases["live"] = "default"
    report = await ingest(items(40), collection="live")
    assert [(start.collection, start.generation) for start in store.requests] == [
        ("live", ""),
        ("live", "default.1"),
    ]
    assert (report.collection, report.generation) == ("default", "default.1")


@pytest.mark.parametrize("server_checks", [True, False])
async def test_an_alias_that_moves_meanwhile_splits_no_load(
    ingest: Any, store: Any, server_checks: bool
) -> None:
    store.collections["green"] = collection_pb2.Collection(name="green", generation="green.1")
    store.aliases["live"] = "default"
    store.moved_aliases["live"] = "green"
    store.break_after_batches = 3
    store.checks_generation = server_checks
    with pytest.raises(FailedPreconditionError) as caught:
        await ingest(items(40), collection="live")
    assert caught.value.reason == Reason.GENERATION_MOVED
    assert len(store.items) == 15  # nothing went to the other collection


async def test_a_drained_stream_gets_no_further_batch(ingest: Any, store: Any) -> None:
    store.drain_after_batches = 2
    report = await ingest(items(20), max_in_flight=1)
    assert store.streams == 2
    assert report.acknowledged_count == 20
    assert set(store.applied.values()) == {1}


async def test_an_error_of_the_caller_is_raised(ingest: Any) -> None:
    with pytest.raises(NotFoundError, match="ghost"):
        await ingest(items(3), collection="ghost")


def test_an_error_that_hides_the_servers_own_is_tried_again() -> None:
    def broken(trailing: grpc.aio.Metadata) -> LookalikeError:
        code = grpc.StatusCode.INTERNAL
        return stream_error(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, "details"), "here:1")

    assert isinstance(broken(grpc.aio.Metadata()), UnavailableError)
    assert type(broken(grpc.aio.Metadata(("x-request-id", "1")))) is LookalikeError


def plan(load: list[Item], clock: list[float], **options: Any) -> IngestPlan:
    settings = {"max_in_flight": 2, "retry_seconds": 10.0, **options}
    return IngestPlan(load, "default", clock=lambda: clock[0], **settings)


def test_the_plan_gives_up_after_the_time_without_progress() -> None:
    now = [0.0]
    load = plan(items(3), now)
    error = UnavailableError("nobody home")
    load.open_stream()
    delays = [load.stream_ended(error) for _ in range(8)]
    assert delays == sorted(delays)
    assert delays[0] < delays[-1] <= 3.0
    now[0] = 10.5
    with pytest.raises(UnavailableError, match="nobody home"):
        load.stream_ended(error)


def test_a_batch_is_not_sent_again_when_its_request_id_may_be_forgotten() -> None:
    now = [0.0]
    load = plan(items(3), now, retry_seconds=math.inf)
    load.stream_ended(UnavailableError("nobody home"))
    now[0] = 539.0
    load.stream_ended(UnavailableError("nobody home"))
    now[0] = 541.0
    with pytest.raises(UnavailableError):
        load.stream_ended(UnavailableError("nobody home"))


def test_progress_renews_the_patience() -> None:
    now = [0.0]
    load = plan(items(100), now)
    for round_number in range(5):
        now[0] = round_number * 8.0
        load.open_stream()
        batch = load.next_messages()[0].batch
        load.receive(catalog_pb2.IngestItemsResponse(request_id=batch.request_id, next_batch_size=4))
        assert load.stream_ended(UnavailableError("again", retry_after_seconds=0.7)) == 0.7


@pytest.mark.parametrize("error", [InvalidInputError("bad"), NotFoundError("gone"), LookalikeError("defect")])
def test_the_plan_does_not_retry_what_cannot_help(error: LookalikeError) -> None:
    with pytest.raises(type(error)):
        plan(items(3), [0.0]).stream_ended(error)


def test_a_late_second_answer_counts_once() -> None:
    load = plan(items(3), [0.0])
    load.open_stream()
    (message,) = load.next_messages()
    answer = catalog_pb2.IngestItemsResponse(
        request_id=message.batch.request_id, acknowledged_item_ids=["i000", "i001", "i002"]
    )
    load.receive(answer)
    load.receive(answer)
    assert load.report().acknowledged_count == 3
    assert load.done
    assert load.stream_ended(None) == 0.0
    assert load.report().reconnects == 0


def test_a_silent_end_and_a_deadline_are_retried() -> None:
    load = plan(items(3), [0.0])
    load.open_stream()
    (first,) = load.next_messages()
    assert load.stream_ended(None) > 0
    load.open_stream()
    assert load.next_messages() == [first]
    assert load.stream_ended(DeadlineError("late")) > 0


def test_batches_stay_below_the_message_limit_and_name_no_item_twice() -> None:
    big = [Item(item_id=f"i{number}", image=b"x" * (5 * 1024 * 1024)) for number in range(5)]
    load = plan([*big, Item(item_id="twin", image=b"1"), Item(item_id="twin", image=b"2")], [0.0])
    load.open_stream()
    batches = []
    while not load.stream_done:
        for message in load.next_messages():
            batches.append([item.item.item_id for item in message.batch.items])
            assert message.ByteSize() <= BATCH_BYTES + 100
            load.receive(catalog_pb2.IngestItemsResponse(request_id=message.batch.request_id))
    assert batches == [["i0", "i1"], ["i2", "i3"], ["i4", "twin"], ["twin"]]
