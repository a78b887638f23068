from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from embedder.batching import MicroBatcher
from lookalike.errors import UnavailableError


class Gate:
    """A batch function that doubles numbers, one batch for each time it is opened."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = asyncio.Semaphore(0)
        self._permits = asyncio.Semaphore(0)

    def open(self, batches: int = 1) -> None:
        for _ in range(batches):
            self._permits.release()

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.entered.release()
        await self._permits.acquire()
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items]

    async def wait_until_entered(self) -> None:
        await self.entered.acquire()


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    yield gate
    gate.open(100)


def submit(batcher: MicroBatcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    return [asyncio.ensure_future(batcher.submit(item)) for item in items]


async def test_what_queues_while_a_batch_runs_shares_the_next(gate: Gate) -> None:
    sizes: list[int] = []
    batcher = MicroBatcher[int, int](gate, max_batch=3, on_batch=sizes.append)
    batcher.start()
    first = submit(batcher, 1)
    await gate.wait_until_entered()
    rest = submit(batcher, 2, 3, 4, 5)
    await asyncio.sleep(0)
    gate.open(3)
    assert await asyncio.gather(*first, *rest) == [2, 4, 6, 8, 10]
    assert gate.batches == [[1], [2, 3, 4], [5]]
    assert sizes == [1, 3, 1]
    await batcher.close()


async def test_a_wait_fills_the_first_batch(gate: Gate) -> None:
    batcher = MicroBatcher[int, int](gate, max_batch=2, max_wait_seconds=60)
    batcher.start()
    gate.open()
    one = submit(batcher, 1)
    await asyncio.sleep(0.01)
    two = submit(batcher, 2)
    assert await asyncio.gather(*one, *two) == [2, 4]
    assert gate.batches == [[1, 2]]
    await batcher.close()


async def test_an_incomplete_batch_starts_when_the_wait_is_over(gate: Gate) -> None:
    batcher = MicroBatcher[int, int](gate, max_batch=2, max_wait_seconds=0.01)
    batcher.start()
    gate.open()
    assert await batcher.submit(1) == 2
    await batcher.close()


async def test_cancelled_requests_are_not_encoded(gate: Gate) -> None:
    batcher = MicroBatcher[int, int](gate, max_batch=16)
    batcher.start()
    first = submit(batcher, 1)
    await gate.wait_until_entered()
    gone, stays = submit(batcher, 2, 3)
    await asyncio.sleep(0)
    gone.cancel()
    first[0].cancel()
    await asyncio.sleep(0)
    assert batcher.waiting == 1
    gate.open(2)
    assert await stays == 6
    assert gate.batches == [[1], [3]]
    await batcher.close()


async def test_an_error_reaches_its_batch_alone(gate: Gate) -> None:
    batcher = MicroBatcher[int, int](gate, max_batch=16)
    batcher.start()
    gate.open(2)
    with pytest.raises(ValueError, match="thirteen"):
        await batcher.submit(13)
    assert await batcher.submit(1) == 2
    await batcher.close()


async def test_a_wrong_number_of_results_is_an_error() -> None:
    async def nothing(items: Sequence[int]) -> list[int]:
        return []

    batcher = MicroBatcher[int, int](nothing, max_batch=16)
    batcher.start()
    with pytest.raises(RuntimeError, match="0 results for a batch of 1"):
        await batcher.submit(1)
    await batcher.close()


async def test_closing_finishes_the_queue_and_refuses_more(gate: Gate) -> None:
    batcher = MicroBatcher[int, int](gate, max_batch=1, max_wait_seconds=60)
    batcher.start()
    waiting = submit(batcher, 1, 2, 3)
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="shutting down"):
        await batcher.submit(4)
    gate.open(3)
    await closing
    assert [task.result() for task in waiting] == [2, 4, 6]


async def test_several_batches_run_at_once_and_no_more_than_allowed(gate: Gate) -> None:
    batcher = MicroBatcher[int, int](gate, max_batch=2, max_running=2)
    batcher.start()
    first = submit(batcher, 1)
    await gate.wait_until_entered()
    rest = submit(batcher, 2, 3, 4, 5)
    await gate.wait_until_entered()
    await asyncio.sleep(0.01)
    assert gate.batches == [[1], [2, 3]]
    gate.open(3)
    assert await asyncio.gather(*first, *rest) == [2, 4, 6, 8, 10]
    assert gate.batches == [[1], [2, 3], [4, 5]]
    await batcher.close()


async def test_closing_waits_for_running_batches(gate: Gate) -> None:
    batcher = MicroBatcher[int, int](gate, max_batch=16, max_running=4)
    batcher.start()
    running = submit(batcher, 1)
    await gate.wait_until_entered()
    closing = asyncio.ensure_future(batcher.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    gate.open()
    await closing
    assert await running[0] == 2
