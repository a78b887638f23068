from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hasher.attributes import attributes_of
from hasher.documents import document_of
from hasher.generation import Generation
from hasher.index_files import INDEX_PREFIX
from hasher.log.base import Change, Delete, Mutation, Record, Upsert
from hasher.rows.records import Creation
from hasher.shard import Shard
from lookalike.collections import Spec
from lookalike.v1 import types_pb2
from tests.hasher.generations import opened
from tests.hasher.served import Client, serve

DIMENSION = 16
SPEC = Spec("model-1", DIMENSION, 64, 1024)
TIME_NS = 1_800_000_000 * 10**9


class Rows:
    """Makes rows, changes and unit vectors that are the same in each run."""

    spec = SPEC

    def vector(self, seed: int | str) -> np.ndarray[Any, np.dtype[np.float32]]:
        number = seed if isinstance(seed, int) else int.from_bytes(str(seed).encode(), "little") % 2**32
        vector = np.random.default_rng(number).standard_normal(DIMENSION).astype(np.float32)
        return vector / np.float32(np.linalg.norm(vector))

    def upsert(
        self, item_id: str, product_id: str = "", seed: int | str | None = None, if_version: int | None = None
    ) -> Upsert:
        vector = self.vector(item_id if seed is None else seed)
        message = self.message(item_id, product_id, seed)
        item = message.SerializeToString()
        return Upsert(
            item_id, product_id, item, vector, attributes_of(message), document_of(message), if_version
        )

    def item(self, item_id: str, product_id: str = "", seed: int | str | None = None) -> bytes:
        return self.message(item_id, product_id, seed).SerializeToString()

    def document(self, item_id: str, product_id: str = "", seed: int | str | None = None) -> bytes:
        """What the index keeps of an item."""
        return document_of(self.message(item_id, product_id, seed))

    def message(self, item_id: str, product_id: str, seed: int | str | None) -> types_pb2.Item:
        return types_pb2.Item(item_id=item_id, product_id=product_id, attributes={"seed": str(seed)})

    def delete(self, item_id: str, if_version: int | None = None) -> Delete:
        return Delete(item_id, if_version)

    def change(self, request_id: str, *mutations: Mutation) -> Change:
        return Change(request_id, hashlib.sha256(repr(mutations).encode()).digest(), mutations)

    def records(self, after: int, *changes: Change, lane: int = 0, time_ns: int = TIME_NS) -> list[Record]:
        """Gives changes the positions after one."""
        return [Record(lane, after + i, time_ns, change) for i, change in enumerate(changes, start=1)]

    def creation(self, **fields: Any) -> Creation:
        """What a generation is made with."""
        values: dict[str, Any] = {
            "spec": SPEC,
            "request_id": "create",
            "installation_id": "home",
            "shard": 0,
            "shard_count": 1,
            "log_id": "direct",
            "positions": {0: 1},
        }
        return Creation(**values | fields)

    def index_files(self, shard_folder: Path, generation: str) -> list[Path]:
        (folder,) = self.index_folders(shard_folder, generation)
        return sorted(path for path in folder.rglob("*") if path.is_file())

    def index_folders(self, shard_folder: Path, generation: str) -> list[Path]:
        return list((shard_folder / generation).glob(f"{INDEX_PREFIX}*"))


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def shard(tmp_path: Path) -> Iterator[Shard]:
    shard = opened(tmp_path / "data")
    yield shard
    shard.close()


@pytest.fixture
def generation(shard: Shard) -> Generation:
    shard.create("g1", SPEC, "create-g1")
    return shard.generation("g1")


@pytest.fixture
async def shards(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts servers of shards and returns their clients."""
    async with AsyncExitStack() as stack:

        async def start(number: int = 0, count: int = 1, load: bool = True) -> Client:
            folder = tmp_path / f"shard-{number}"
            return await stack.enter_async_context(serve(folder, number, count, load))

        yield start


@pytest.fixture
async def client(shards: Any) -> Client:
    client: Client = await shards()
    await client.create()
    return client
