from __future__ import annotations

from contextlib import nullcontext

import pytest

from gateway.outcome import Outcome, is_callers_mistake
from gateway.peers import SilentError, UnreachableError
from lookalike.errors import (
    DataLossError,
    DeadlineError,
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    NotFoundError,
    OverloadedError,
    Reason,
    UnavailableError,
)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (UnreachableError("secret address"), "unreachable"),
        (SilentError("silent"), "not answering"),
        (OverloadedError("queue"), "overloaded"),
        (DeadlineError("late"), "too late"),
        (NotFoundError("unknown generation"), "its data is missing"),
        (DataLossError("bad page"), "its data is damaged"),
        (LookalikeError("stack trace"), "failed"),
        (UnavailableError("behind", reason=Reason.LOG_POSITION_NOT_REACHED), "log position not reached"),
        (UnavailableError("the disk of the shard is full"), "the disk of the shard is full"),
        (UnavailableError("all 256 files open", reason=Reason.OPEN_FILES_LIMIT), "all 256 files open"),
        (UnavailableError("x" * 5000), "x" * 200),
        (
            FailedPreconditionError("partition 7", reason=Reason.SHARD_LAYOUT_MISMATCH),
            "it holds other partitions than expected",
        ),
        (
            FailedPreconditionError("6d1f", reason=Reason.INSTALLATION_MISMATCH),
            "it belongs to another installation",
        ),
    ],
)
def test_a_failed_shard_is_named_without_internals(failure: LookalikeError, words: str) -> None:
    assert not is_callers_mistake(failure)
    outcome = Outcome({0: 0}, {1: failure})
    assert outcome.degraded_reason == f"shard 1: {words}"
    if isinstance(failure, NotFoundError | DataLossError):
        return
    with pytest.raises(UnavailableError, match=r"; retry$") as caught:
        outcome.complete("retry")
    assert caught.value.reason is Reason.SHARD_UNAVAILABLE


def test_for_lost_data_no_retry_is_advised() -> None:
    outcome = Outcome({0: 0}, {1: NotFoundError("unknown generation"), 2: UnreachableError("down")})
    assert outcome.lost == {1}
    with pytest.raises(DataLossError, match=r"shard 1: its data is missing; .*lookalike collection repair"):
        outcome.complete("retry")


@pytest.mark.parametrize(
    ("failures", "share", "is_lost"),
    [
        ({2: NotFoundError("unknown")}, 1.0, True),
        ({2: DataLossError("bad page")}, 1.0, True),
        ({2: NotFoundError("unknown")}, 0.6, False),
        ({1: UnreachableError("down"), 2: NotFoundError("unknown")}, 0.6, False),
        ({1: UnreachableError("down"), 2: NotFoundError("unknown")}, 0.7, True),
        ({1: DataLossError("bad page"), 2: NotFoundError("unknown")}, 0.6, True),
        ({1: UnreachableError("down"), 2: UnreachableError("down")}, 1.0, False),
    ],
)
def test_data_is_lost_where_the_rest_cannot_be_enough(
    failures: dict[int, LookalikeError], share: float, is_lost: bool
) -> None:
    outcome = Outcome(dict.fromkeys(set(range(3)) - failures.keys(), 0), failures)
    with pytest.raises(DataLossError) if is_lost else nullcontext():
        outcome.check_data(share)


@pytest.mark.parametrize("failure", [InvalidInputError("bad k"), FailedPreconditionError("model")])
def test_what_is_wrong_with_the_request_is_the_callers_mistake(failure: LookalikeError) -> None:
    assert is_callers_mistake(failure)


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
