"""``Await``: what became of a record of the log, once the shard has applied it."""

from __future__ import annotations

import asyncio
from typing import Any

from lookalike.errors import Reason
from lookalike.placement import partition_of
from lookalike.v1 import hasher_pb2
from lookalike.wire.status import error_from_status
from tests.hasher.served import Client, Code, delete, refusal, upsert


async def outcome(client: Client, request_id: str, position: int, timeout: float = 10, **fields: Any) -> Any:
    values = {"generation": "g", "lane": 0, **fields}
    request = hasher_pb2.AwaitRequest(request_id=request_id, position=position, **values)
    return await client.stub.Await(request, timeout=timeout)


async def test_outcomes_are_those_of_the_write_by_partition(client: Client, rows: Any) -> None:
    await client.write(upsert(rows, "a"))
    mutations = [upsert(rows, f"i{n}") for n in range(200)] + [delete("a"), upsert(rows, "b", if_version=7)]
    reply = await client.write(*mutations, request_id="w")
    answer = await outcome(client, "w", reply.position)
    partitions = [one.partition for one in answer.partitions]
    assert partitions == sorted(set(partitions))
    by_partition = {one.partition: list(one.results) for one in answer.partitions}
    for mutation, result in zip(mutations, reply.results, strict=True):
        item_id = mutation.upsert.item.item_id or mutation.delete_item_id
        assert by_partition[partition_of(item_id, 64)].pop(0) == result
    assert not any(by_partition.values())
    assert error_from_status(reply.results[-1].error).reason is Reason.VERSION_CONFLICT


async def test_it_waits_until_the_record_is_applied(client: Client, rows: Any) -> None:
    waiting = asyncio.create_task(outcome(client, "w", 2))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    reply = await client.write(upsert(rows, "a"), request_id="w")
    assert [list(one.results) for one in (await waiting).partitions] == [list(reply.results)]


async def test_outcomes_that_are_not_there(client: Client, rows: Any) -> None:
    await client.write(upsert(rows, "a"), request_id="w")
    await refusal(client.write(upsert(rows, "b"), request_id="w"))
    for call, code, reason, field in (
        (outcome(client, "", 2), Code.INVALID_ARGUMENT, Reason.FIELD_MISSING, "request_id"),
        (outcome(client, "never", 2), Code.NOT_FOUND, Reason.OUTCOME_NOT_FOUND, "request_id"),
        (outcome(client, "w", 3), Code.INVALID_ARGUMENT, Reason.REQUEST_ID_REUSED, "request_id"),
        (outcome(client, "w", 2, generation="none"), Code.NOT_FOUND, Reason.COLLECTION_NOT_FOUND, ""),
        (outcome(client, "w", 99, 0.5), Code.UNAVAILABLE, Reason.LOG_POSITION_NOT_REACHED, "position"),
        (outcome(client, "w", 1, 0.5, lane=1), Code.UNAVAILABLE, Reason.LOG_POSITION_NOT_REACHED, "position"),
    ):
        found, error = await refusal(call)
        assert (found, error.reason, error.field) == (code, reason, field)
