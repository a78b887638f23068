"""A stop ends calls with an answer or a reason, whatever they are at."""

from __future__ import annotations

import asyncio

import pytest

from lookalike.errors import LookalikeError
from lookalike.runtime import server
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.settings import ServerSettings


async def test_the_first_failure_of_what_runs_beside_ends_all() -> None:
    ended: list[str] = []
    started = asyncio.Event()

    async def lasts() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("lasts")

    async def is_done() -> None:
        return

    async def fails() -> None:
        await started.wait()
        raise LookalikeError("the store is damaged")

    settings = ServerSettings(drain_wait_seconds=0)
    runner = server.ServerRunner("probe", [], settings, Metrics(), beside=[is_done, lasts, fails])
    with pytest.raises(LookalikeError, match="the store is damaged"):
        await runner.run()
    assert ended == ["lasts"]
