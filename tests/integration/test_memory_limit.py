"""Feeding a hasher that may use little memory: it says no before the kernel would kill it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lookalike.client import Client, Item
from lookalike.errors import OverloadedError, Reason

if TYPE_CHECKING:
    from conftest import Stack

DIMENSION = 1280
BATCH = 200
LIMIT_BYTES = 128 << 20
"""A hasher starts with half of it."""


def _anonymous_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("it has ended")


def _batch(rng: np.random.Generator, number: int) -> list[Item]:
    vectors = rng.standard_normal((BATCH, DIMENSION)).astype(np.float32)
    return [Item(item_id=f"{number}-{row}", embedding=vector) for row, vector in enumerate(vectors)]


def _feed(client: Client, rng: np.random.Generator) -> None:
    for number in range(1, 200):
        client.upsert(_batch(rng, number), collection="shop")


def test_feeding_stops_before_the_memory_is_used_up(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(hasher=[f"--max-memory-bytes={LIMIT_BYTES}", "--memory-share=0.9"])
    rng = np.random.default_rng(4)
    with stack.client() as client:
        client.create_collection("shop")
        first = _batch(rng, 0)
        client.upsert(first, collection="shop")
        with pytest.raises(OverloadedError, match=r"shard [01]: its memory is full") as caught:
            _feed(client, rng)
        assert caught.value.reason is Reason.MEMORY_FULL
        assert caught.value.retry_after_seconds > 0
        assert all(_anonymous_bytes(hasher.popen.pid) < LIMIT_BYTES for hasher in stack.hashers)
        answer = client.search(embedding=first[0].embedding, k=1, collection="shop")
        assert [hit.item_id for hit in answer.hits] == [first[0].item_id]
        assert not client.delete([item.item_id for item in first], collection="shop").failures
        assert all(hasher.is_running() for hasher in stack.hashers)
