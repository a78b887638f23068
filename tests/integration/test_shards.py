"""Shards that hang or lose their data, as callers of a running installation see them."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

from lookalike.client import Client, Item
from lookalike.errors import UnavailableError
from lookalike.v1 import collection_pb2, collection_pb2_grpc

if TYPE_CHECKING:
    from conftest import Server, Stack

DIMENSION = 1280


def _items(count: int) -> list[Item]:
    rng = np.random.default_rng(3)
    return [
        Item(item_id=f"item-{number:03}", embedding=rng.normal(size=DIMENSION).astype(np.float32))
        for number in range(count)
    ]


@contextmanager
def _stopped(server: Server) -> Iterator[None]:
    """Lets a process hang: it keeps its connections and answers nothing."""
    assert server.is_running()
    server.popen.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.popen.send_signal(signal.SIGCONT)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.1)


def _partial(client: Client, item: Item) -> str:
    answer = client.search(embedding=item.embedding, k=3, collection="shop", min_coverage=0.5)
    assert answer.hits
    return answer.coverage.degraded_reason


def test_a_shard_that_hangs_costs_neither_searches_nor_writes_their_deadline(
    make_stack: Callable[[], Stack],
) -> None:
    stack = make_stack()
    items = _items(60)
    with stack.client(timeout_seconds=50) as client:
        client.create_collection("shop")
        client.ingest(items, collection="shop")
        with _stopped(stack.hashers[1]):
            assert _partial(client, items[0]) == "shard 1: too late"
            _until(lambda: _partial(client, items[0]) == "shard 1: not answering")
            with pytest.raises(UnavailableError, match="shard 1: not answering"):
                client.upsert(items, collection="shop")
            with pytest.raises(UnavailableError, match="shard 1: not answering"):
                client.search(embedding=items[0].embedding, collection="shop")
        _until(lambda: _partial(client, items[0]) == "")
        assert not client.upsert(items, collection="shop").failures
        assert client.count(collection="shop") == len(items)


def test_a_shard_that_lost_its_data_is_flagged_until_it_is_repaired(make_stack: Callable[[], Stack]) -> None:
    stack = make_stack()
    items = _items(60)
    with stack.client() as client:
        client.create_collection("shop")
        client.ingest(items, collection="shop")
        stack.hashers[1].stop()
        shutil.rmtree(stack.folder / "shard-1")
        stack.hashers[1].start()
        _until(lambda: _partial(client, items[0]) == "shard 1: its data is missing")
        client.create_collection("shop")
        assert _partial(client, items[0]) == "shard 1: its data is missing"
        _until(lambda: "generation_missing" in stack.gateway.said())
        with grpc.insecure_channel(stack.gateway.target) as channel:
            collection_pb2_grpc.CollectionServiceStub(channel).CreateCollection(
                collection_pb2.CreateCollectionRequest(name="shop", repair=True)
            )
        assert _partial(client, items[0]) == ""
        assert 0 < client.count(collection="shop") < len(items)
        client.ingest(items, collection="shop")
        assert client.count(collection="shop") == len(items)
    assert "collection_repaired" in stack.gateway.said()


def _gateway(stack: Stack, folder: str, *hashers: str) -> Server:
    return stack._server(
        "gateway",
        f"--embedder={stack.embedder.target}",
        f"--hashers={','.join(hashers)}",
        f"--data-folder={stack.folder / folder}",
        name=f"gateway-{folder}",
    )


def test_two_directories_never_meet_on_the_same_shards(make_stack: Callable[[], Stack]) -> None:
    """The second one is that of another gateway, or of this one after its folder was lost."""
    stack = make_stack()
    items = _items(60)
    targets = [hasher.hasher for hasher in stack.hashers]
    with stack.client() as client:
        client.create_collection("shop")
        client.ingest(items, collection="shop")
        other = _gateway(stack, "other", *targets).start()
        try:
            with Client(other.target) as stranger:
                for call in (stranger.create_collection, stranger.delete_collection):
                    with pytest.raises(UnavailableError, match="it belongs to another installation"):
                        call("shop")
        finally:
            other.stop()
        assert client.count(collection="shop") == len(items)
        assert client.search(embedding=items[0].embedding, collection="shop").coverage.complete


def test_a_wrong_list_of_hashers_is_never_complete(make_stack: Callable[[], Stack]) -> None:
    stack = make_stack()
    items = _items(60)
    with stack.client() as client:
        client.create_collection("shop")
        client.ingest(items, collection="shop")
    stack.gateway.stop()
    first, second = (hasher.hasher for hasher in stack.hashers)
    twice = first.replace("127.0.0.1", "localhost")
    for hashers, answering in (((first, twice), 1), ((second, first), 0), ((first,), 0)):
        gateway = _gateway(stack, "gateway", *hashers).start()
        try:
            with Client(gateway.target) as client:
                with pytest.raises(UnavailableError, match="it holds other partitions than expected"):
                    client.search(embedding=items[0].embedding, collection="shop")
                partial = client.search(embedding=items[0].embedding, collection="shop", min_coverage=0)
                assert partial.coverage.shards_answered == answering
                with pytest.raises(UnavailableError):
                    client.count(collection="shop")
        finally:
            gateway.stop()
