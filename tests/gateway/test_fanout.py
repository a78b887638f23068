from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from gateway.fanout import Outcome, Shards
from gateway.peers import Shard
from lookalike.errors import (
    DataLossError,
    InvalidInputError,
    LookalikeError,
    NotFoundError,
    OverloadedError,
    Reason,
    UnavailableError,
)
from lookalike.placement import partition_of, shard_of
from lookalike.v1 import hasher_pb2

if TYPE_CHECKING:
    from conftest import FakeShard

MakeShards = Callable[[int], "list[FakeShard]"]


async def _describe(_: int, shard: Shard, timeout_seconds: float) -> int:
    answer = await shard.describe(hasher_pb2.DescribeRequest(), timeout_seconds=timeout_seconds)
    return answer.shard


async def test_all_shards_answer(make_shards: MakeShards) -> None:
    outcome = await Shards(make_shards(3), pytest.fail).call_all(_describe, 1)
    assert outcome.answers == {0: 0, 1: 1, 2: 2}
    assert outcome.complete("retry") == outcome.answers
    assert outcome.degraded_reason == ""


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (UnavailableError("secret address"), "unreachable"),
        (OverloadedError("queue"), "overloaded"),
        (NotFoundError("unknown generation"), "its data is missing"),
        (DataLossError("bad page"), "its data is damaged"),
        (LookalikeError("stack trace"), "failed"),
        (UnavailableError("behind", reason=Reason.LOG_POSITION_NOT_REACHED), "log position not reached"),
        (
            InvalidInputError("partition 7", reason=Reason.SHARD_LAYOUT_MISMATCH),
            "it holds other partitions than expected",
        ),
    ],
)
async def test_a_failed_shard_is_named_without_internals(
    make_shards: MakeShards, failure: LookalikeError, words: str
) -> None:
    shards, failed = make_shards(2), []
    shards[1].failure = failure
    outcome = await Shards(shards, failed.append).call_all(_describe, 1)
    assert outcome.answers == {0: 0}
    assert outcome.degraded_reason == f"shard 1: {words}"
    assert failed == [1]


async def test_a_late_shard_is_a_failed_one(make_shards: MakeShards) -> None:
    shards = make_shards(2)
    shards[0].hangs = True
    outcome = await Shards(shards, lambda _: None).call_all(_describe, 0.01)
    assert outcome.degraded_reason == "shard 0: too late"
    with pytest.raises(UnavailableError, match="shard 0: too late; retry") as caught:
        outcome.complete("retry")
    assert caught.value.reason is Reason.SHARD_UNAVAILABLE


async def test_the_callers_mistake_is_the_callers(make_shards: MakeShards) -> None:
    shards = make_shards(2)
    shards[1].failure = InvalidInputError("bad vector")
    with pytest.raises(InvalidInputError, match="bad vector"):
        await Shards(shards, pytest.fail).call_all(_describe, 1)


@pytest.mark.parametrize(
    ("answered", "called", "share", "covered"),
    [
        (3, 5, 0.6000000238418579, True),  # 0.6 as float32
        (2, 5, 0.6, False),
        (0, 2, 0.0, True),
        (1, 2, 0.5, True),
        (1, 3, 0.3333333432674408, True),
        (2, 3, 1.0, False),
    ],
)
def test_coverage(answered: int, called: int, share: float, covered: bool) -> None:
    failures = {number: LookalikeError("x") for number in range(answered, called)}
    assert Outcome(dict.fromkeys(range(answered), 0), failures).covers(share) is covered


def test_items_go_to_the_shards_that_placement_says(make_shards: MakeShards) -> None:
    ids = [f"item-{number}" for number in range(200)]
    owners = Shards(make_shards(3), pytest.fail).by_owner(ids, 64)
    assert sorted(index for indices in owners.values() for index in indices) == list(range(200))
    for shard, indices in owners.items():
        assert indices == sorted(indices)
        assert all(shard_of(partition_of(ids[index], 64), 3) == shard for index in indices)
