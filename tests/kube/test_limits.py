from __future__ import annotations

from collections import Counter

import pytest

from tests.kube.installation import WAYS
from tests.kube.limits import (
    KILLED,
    NOTHING_FAILS,
    ONE_GATEWAY,
    ONE_TRITON,
    RATES,
    SHARDS_ARE_AWAY,
    Limits,
    problems,
)


def outcomes(**changed: Counter[str]) -> dict[str, Counter[str]]:
    """A hundred complete answers in each way, but for what is given."""
    return {how: Counter(complete=100) for how in WAYS} | changed


def test_every_way_has_a_rate() -> None:
    assert set(RATES) == set(WAYS)


@pytest.mark.parametrize("limits", [NOTHING_FAILS, SHARDS_ARE_AWAY, KILLED, ONE_GATEWAY])
def test_complete_answers_are_well(limits: Limits) -> None:
    assert not problems(limits, outcomes())


@pytest.mark.parametrize("how", WAYS)
def test_one_failure_is_too_many_where_replicas_allow_none(how: str) -> None:
    found = outcomes(**{how: Counter(complete=99, UNAVAILABLE=1)})
    assert problems(NOTHING_FAILS, found) == [f"1 of 100 searches by {how} failed, 0 may"]


def test_as_many_may_fail_as_are_sent_while_something_is_away() -> None:
    few = outcomes(once=Counter(complete=96, UNAVAILABLE=3, DEADLINE_EXCEEDED=1))
    assert not problems(ONE_TRITON, few)
    more = outcomes(once=Counter(complete=95, UNAVAILABLE=5))
    assert problems(ONE_TRITON, more) == ["5 of 100 searches by once failed, 4 may"]


def test_retries_outlast_all_but_the_loss_of_the_gateway() -> None:
    found = outcomes(client=Counter(complete=99, UNAVAILABLE=1))
    assert problems(KILLED, found) == ["1 of 100 searches by client failed, 0 may"]
    assert not problems(ONE_GATEWAY, found)


def test_parts_are_allowed_while_a_shard_is_away() -> None:
    found = outcomes(once=Counter(complete=80, partial=20))
    assert not problems(SHARDS_ARE_AWAY, found)
    assert problems(NOTHING_FAILS, found) == ["20 of 100 answers by once lack a shard, 2 may"]


def test_only_what_is_away_explains_a_failure() -> None:
    found = outcomes(h2load=Counter({"complete": 98, "INTERNAL": 1, "no answer": 1}))
    assert problems(ONE_GATEWAY, found) == ["searches by h2load ended with INTERNAL"]


def test_nothing_is_proved_without_searches() -> None:
    assert problems(ONE_GATEWAY, outcomes(h2load=Counter(complete=0))) == ["no searches by h2load"]
