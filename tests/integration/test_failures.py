"""Kills, restarts and missing shards: nothing acknowledged is lost, nothing is silently left out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lookalike.client import Client, IngestProgress, Item
from lookalike.errors import UnavailableError

if TYPE_CHECKING:
    from conftest import Stack

DIMENSION = 1280


def _vectors(count: int) -> list[Item]:
    rng = np.random.default_rng(2)
    return [
        Item(
            item_id=f"item-{number:05}",
            product_id=f"product-{number // 3}",
            embedding=rng.normal(size=DIMENSION).astype(np.float32),
        )
        for number in range(count)
    ]


def test_hasher_killed_in_mid_ingest_loses_nothing(make_stack: Callable[[], Stack]) -> None:
    stack = make_stack()
    items = _vectors(3000)
    acknowledged = 0
    reached = threading.Event()

    def watch(progress: IngestProgress) -> None:
        nonlocal acknowledged
        acknowledged = progress.acknowledged_count
        if acknowledged >= 500:
            reached.set()

    def kill_and_restart() -> None:
        assert reached.wait(60)
        stack.hashers[0].kill()
        time.sleep(0.5)
        stack.hashers[0].start()

    with stack.client() as client:
        client.create_collection("shop")
        killer = threading.Thread(target=kill_and_restart)
        killer.start()
        report = client.ingest(items, collection="shop", on_progress=watch)
        killer.join()
        assert report.acknowledged_count == len(items)
        assert report.reconnects >= 1, "the load ended before the kill"
        assert not report.failures
        assert client.count(collection="shop") == len(items)
        for start in range(0, len(items), 500):
            ids = [item.item_id for item in items[start : start + 500]]
            assert not client.get(ids, collection="shop").missing_item_ids
        for item in items[::300]:
            assert (
                client.search(embedding=item.embedding, k=1, collection="shop").hits[0].item_id
                == item.item_id
            )


def test_acknowledged_before_the_kill_is_there_after_it(make_stack: Callable[[], Stack]) -> None:
    stack = make_stack()
    items = _vectors(400)
    with stack.client() as client:
        client.create_collection("shop")
        for start in range(0, len(items), 100):
            assert not client.upsert(items[start : start + 100], collection="shop").failures
        for hasher in stack.hashers:
            hasher.kill()
        for hasher in stack.hashers:
            hasher.start()
        _until(lambda: client.count(collection="shop") == len(items))
        hits = client.search(embedding=items[7].embedding, k=1, collection="shop").hits
        assert hits[0].item_id == items[7].item_id


def test_missing_shard_is_flagged_never_hidden(make_stack: Callable[[], Stack]) -> None:
    stack = make_stack()
    items = _vectors(300)
    with stack.client() as client:
        client.create_collection("shop")
        client.ingest(items, collection="shop")
        stack.hashers[1].kill()
        with pytest.raises(UnavailableError):
            client.search(embedding=items[0].embedding, collection="shop")
        partial = client.search(embedding=items[0].embedding, collection="shop", min_coverage=0.5)
        assert (partial.coverage.shards_answered, partial.coverage.shards_total) == (1, 2)
        assert partial.coverage.degraded_reason
        assert partial.hits
        with pytest.raises(UnavailableError):
            client.get([item.item_id for item in items], collection="shop")
        with pytest.raises(UnavailableError):
            client.count(collection="shop")
        stack.hashers[1].start()
        _until(lambda: client.search(embedding=items[0].embedding, collection="shop").coverage.complete)
        # Searches have a connection of their own; that of counts may wait a second longer to connect.
        _until(lambda: client.count(collection="shop") == len(items))


def test_everything_restarts_where_it_was(make_stack: Callable[[], Stack], items: list[Item]) -> None:
    stack = make_stack()
    some = items[:40]
    with stack.client() as client:
        client.create_collection("shop")
        client.ingest(some, collection="shop")
        client.set_alias("live", "shop")
    assert [server.stop() for server in reversed(stack.servers)] == [0, 0, 0, 0]
    for server in stack.servers:
        server.start()
    stack.wait_until_ready()
    with stack.client() as client:
        assert client.count(collection="live") == len(some)
        assert client.search(image=some[0].image, k=1, collection="live").hits[0].item_id == some[0].item_id
    assert "index_rebuilt" not in stack.hashers[0].said()


def test_damaged_index_is_rebuilt_with_a_warning(make_stack: Callable[[], Stack]) -> None:
    stack = make_stack()
    items = _vectors(600)
    with stack.client() as client:
        client.create_collection("shop")
        client.ingest(items, collection="shop")
        before = [_answer(client, item) for item in items[:20]]
    for hasher in stack.hashers:
        hasher.stop()
    damaged = 0
    for shard in range(2):
        for path in (stack.folder / f"shard-{shard}").glob("*/index-*/*"):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 0xFF
            path.write_bytes(content)
            damaged += 1
    assert damaged >= 2
    for hasher in stack.hashers:
        hasher.start()
    with stack.client() as client:
        _until(lambda: client.count(collection="shop") == len(items))
        after = [_answer(client, item) for item in items[:20]]
    assert after == before
    assert all("index_rebuilt" in hasher.said() for hasher in stack.hashers)


def _answer(client: Client, item: Item) -> list[tuple[str, float]]:
    """The item's exact neighbours; the hashed search must at least find the item itself."""
    hashed = client.search(embedding=item.embedding, k=1, collection="shop").hits
    assert hashed[0].item_id == item.item_id
    exact = client.search(embedding=item.embedding, k=5, collection="shop", exact=True).hits
    return [(hit.item_id, hit.score) for hit in exact]


def _until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits for a condition; UNAVAILABLE on the way is what a restart looks like."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except UnavailableError:
            pass
        time.sleep(0.1)
    raise AssertionError("the condition did not come true in time")
