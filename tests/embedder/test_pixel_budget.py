from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from embedder.decoding.budget import PixelBudget, PixelClaim, WithdrawnError

MILLION = 1_000_000


class Holder:
    """Holds pixels in a thread until it is released."""

    def __init__(self, pool: ThreadPoolExecutor, budget: PixelBudget, pixels: int) -> None:
        self.holds, self._release = threading.Event(), threading.Event()
        self.claim: PixelClaim = budget.claim()
        self.done: Future[None] = pool.submit(self._hold, pixels)

    def _hold(self, pixels: int) -> None:
        with self.claim.held(pixels):
            self.holds.set()
            self._release.wait()

    def release(self) -> None:
        self._release.set()
        self.done.result(10)


def waits(holder: Holder) -> bool:
    return not holder.holds.wait(0.05)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_holders_share_the_budget_and_others_wait(pool: ThreadPoolExecutor) -> None:
    budget = PixelBudget(10)
    one, two = Holder(pool, budget, 6 * MILLION), Holder(pool, budget, 4 * MILLION)
    assert one.holds.wait(10)
    assert two.holds.wait(10)
    third = Holder(pool, budget, 1)
    assert waits(third)
    two.release()
    assert third.holds.wait(10)
    one.release()
    third.release()


def test_a_large_picture_is_not_overtaken(pool: ThreadPoolExecutor) -> None:
    budget = PixelBudget(10)
    first = Holder(pool, budget, 5 * MILLION)
    assert first.holds.wait(10)
    large = Holder(pool, budget, 6 * MILLION)
    assert waits(large)
    small = Holder(pool, budget, 1)
    assert waits(small)
    first.release()
    assert large.holds.wait(10)
    assert small.holds.wait(10)
    large.release()
    small.release()


def test_what_exceeds_the_budget_is_decoded_alone(pool: ThreadPoolExecutor) -> None:
    budget = PixelBudget(10)
    first = Holder(pool, budget, 1)
    assert first.holds.wait(10)
    large = Holder(pool, budget, 99 * MILLION)
    assert waits(large)
    first.release()
    assert large.holds.wait(10)
    large.release()


def test_a_withdrawn_claim_ends_its_wait_and_makes_way(pool: ThreadPoolExecutor) -> None:
    budget = PixelBudget(10)
    first = Holder(pool, budget, 5 * MILLION)
    assert first.holds.wait(10)
    large, small = Holder(pool, budget, 6 * MILLION), None
    assert waits(large)
    small = Holder(pool, budget, 1)
    assert waits(small)
    large.claim.withdraw()
    with pytest.raises(WithdrawnError):
        large.done.result(10)
    assert small.holds.wait(10)
    first.claim.withdraw()  # too late: it is decoding
    first.release()
    small.release()


def test_an_error_gives_the_pixels_back() -> None:
    budget = PixelBudget(1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), budget.claim().held(MILLION):
            1 / 0  # noqa: B018
