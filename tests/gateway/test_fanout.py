from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from gateway.fanout import Shards
from gateway.peers import Shard, UnreachableError
from lookalike.errors import InvalidInputError, LookalikeError, Reason, UnavailableError
from lookalike.placement import partition_of, shard_of
from lookalike.v1 import hasher_pb2

if TYPE_CHECKING:
    from conftest import FakeShard

    from gateway.outcome import Outcome

MakeShards = Callable[[int], "list[FakeShard]"]
FanOut = Callable[..., Shards]
LONG = 60.0
"""Seconds that no test waits for."""


async def _describe(
    shards: Shards, timeout_seconds: float = LONG, **options: object
) -> Outcome[hasher_pb2.DescribeResponse]:
    requests = shards.for_all(hasher_pb2.DescribeRequest())
    return await shards.ask(Shard.describe, requests, timeout_seconds, **options)


async def test_all_shards_answer_and_each_is_named(make_shards: MakeShards, fan_out: FanOut) -> None:
    shards = fan_out(make_shards(3))
    requests = shards.for_all(hasher_pb2.DescribeRequest())
    outcome = await shards.ask(Shard.describe, requests, LONG)
    assert {number: answer.shard for number, answer in outcome.answers.items()} == {0: 0, 1: 1, 2: 2}
    assert outcome.complete("retry") == outcome.answers
    assert outcome.degraded_reason == ""
    for number, request in requests.items():
        assert request.target == hasher_pb2.ShardIdentity(
            installation_id="installation", shard=number, shard_count=3, layout_epoch=1
        )


async def test_an_answer_of_another_shard_or_installation_counts_as_none(
    make_shards: MakeShards, fan_out: FanOut
) -> None:
    fakes = make_shards(4)
    fakes[1] = fakes[0]  # one hasher under two addresses
    fakes[2].installation_id = "another"
    fakes[3].count = 5
    outcome = await _describe(fan_out(fakes))
    assert list(outcome.answers) == [0]
    assert outcome.degraded_reason == (
        "shard 1: it holds other partitions than expected; shard 2: it belongs to another installation;"
        " shard 3: it holds other partitions than expected"
    )


async def test_a_late_shard_is_a_failed_one(make_shards: MakeShards, fan_out: FanOut) -> None:
    fakes = make_shards(2)
    fakes[0].hangs = True
    outcome = await _describe(fan_out(fakes), 0.01)
    assert outcome.degraded_reason == "shard 0: too late"
    with pytest.raises(UnavailableError, match="shard 0: too late; retry") as caught:
        outcome.complete("retry")
    assert caught.value.reason is Reason.SHARD_UNAVAILABLE


async def test_the_callers_mistake_ends_the_wait(make_shards: MakeShards, fan_out: FanOut) -> None:
    fakes = make_shards(3)
    fakes[0].hangs = True
    fakes[1].failure = InvalidInputError("bad vector")
    with pytest.raises(InvalidInputError, match="bad vector"):
        await asyncio.wait_for(_describe(fan_out(fakes)), LONG / 2)


async def test_a_shard_that_hangs_is_left_alone_until_it_answers_a_probe(
    make_shards: MakeShards, fan_out: FanOut
) -> None:
    now = 1000.0
    fakes = make_shards(2)
    shards = fan_out(fakes, clock=lambda: now)
    fakes[0].hangs = True
    for _ in range(3):
        now += 1.0
        assert (await _describe(shards, 0.01)).degraded_reason == "shard 0: too late"
    outcome = await asyncio.wait_for(_describe(shards), LONG / 2)
    assert outcome.degraded_reason == "shard 0: not answering"
    now += 100.0
    assert (await _describe(shards, 0.01, probe=True)).degraded_reason == "shard 0: too late"
    fakes[0].hangs = False
    assert (await _describe(shards)).degraded_reason == "shard 0: not answering"
    assert (await _describe(shards, probe=True)).degraded_reason == ""
    assert (await _describe(shards)).degraded_reason == ""


async def test_calls_that_wait_for_a_shard_end_when_probes_find_it_hanging(
    make_shards: MakeShards, fan_out: FanOut
) -> None:
    now = 1000.0
    fakes = make_shards(2)
    shards = fan_out(fakes, clock=lambda: now)
    fakes[0].hangs = True
    waiting = asyncio.create_task(_describe(shards))
    for _ in range(3):
        await _describe(shards, 0.01, probe=True)
        now += 1.0
    outcome = await asyncio.wait_for(waiting, LONG / 2)
    assert outcome.degraded_reason == "shard 0: not answering"
    assert list(outcome.answers) == [1]


async def test_failures_that_come_at_once_do_not_open_the_circuit(
    make_shards: MakeShards, fan_out: FanOut
) -> None:
    now = 1000.0
    fakes = make_shards(1)
    shards = fan_out(fakes, clock=lambda: now)
    for failure in (UnreachableError("refused"), UnavailableError("disk full"), LookalikeError("defect")):
        fakes[0].failure = failure
        for _ in range(5):
            now += 1.0
            assert list((await _describe(shards)).failures.values()) == [failure]


def test_items_go_to_the_shards_that_placement_says(make_shards: MakeShards, fan_out: FanOut) -> None:
    ids = [f"item-{number}" for number in range(200)]
    owners = fan_out(make_shards(3)).by_owner(ids, 64)
    assert sorted(index for indices in owners.values() for index in indices) == list(range(200))
    for shard, indices in owners.items():
        assert indices == sorted(indices)
        assert all(shard_of(partition_of(ids[index], 64), 3) == shard for index in indices)
