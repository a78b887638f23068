from __future__ import annotations

import asyncio
import time

from lookalike.runtime.idle import TimedEventLoop, idle_seconds, idle_shares


def test_only_waiting_is_idle() -> None:
    async def both() -> tuple[float, float]:
        share = idle_shares()
        assert share() == 1, "nobody knows yet"
        await asyncio.sleep(0.1)
        waiting = share()
        time.sleep(0.1)
        await asyncio.sleep(0)
        return waiting, share()

    with asyncio.Runner(loop_factory=TimedEventLoop) as runner:
        waiting, working = runner.run(both())
    assert waiting > 0.5 > 0.1 > working


async def test_another_loop_counts_as_idle() -> None:
    share, before = idle_shares(), idle_seconds()
    share()
    time.sleep(0.01)
    assert idle_seconds() > before
    assert share() > 0.99
