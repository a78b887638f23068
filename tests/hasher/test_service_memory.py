"""What a hasher does that has no memory for more items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lookalike.errors import OverloadedError, Reason
from lookalike.runtime.memory import MemoryWatch, Sources
from lookalike.runtime.metrics import Metrics
from tests.hasher.served import Code, delete, refusal, serve, upsert

GIB = 1 << 30


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """A process that uses nothing; tests write what it uses."""
    return Sources(tmp_path / "status", tmp_path / "meminfo", tmp_path / "cgroup", tmp_path / "own")


def use(sources: Sources, share: float) -> None:
    """Lets the process use a share of 1 GiB."""
    sources.process.write_text(f"RssAnon: {round(share * GIB) // 1024} kB\n")


async def test_only_new_items_are_refused(tmp_path: Path, sources: Sources, rows: Any) -> None:
    seconds = iter(range(1000))
    memory = MemoryWatch(Metrics(), GIB, sources=sources, clock=lambda: next(seconds))
    use(sources, 0.5)
    async with serve(tmp_path / "data", memory=memory) as client:
        await client.create("g")
        await client.write(upsert(rows, "a"), upsert(rows, "b"))
        use(sources, 0.9)
        for mutations in ([upsert(rows, "c")], [delete("a"), upsert(rows, "c")]):
            code, error = await refusal(client.write(*mutations))
            assert code is Code.RESOURCE_EXHAUSTED
            assert isinstance(error, OverloadedError)
            assert error.reason is Reason.MEMORY_FULL
            assert error.retry_after_seconds > 0
        reply = await client.write(delete("a"))
        assert reply.results[0].existed
        use(sources, 0.5)
        await client.write(upsert(rows, "c"))
        assert client.shard.item_count() == 2
