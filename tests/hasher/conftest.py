from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hasher.generation import Generation
from hasher.index_files import INDEX_PREFIX
from hasher.rows.records import Change, Delete, Mutation, Upsert
from hasher.rows.store import hash_payload
from hasher.shard import Shard
from lookalike.collections import Spec
from lookalike.v1 import types_pb2

DIMENSION = 16
SPEC = Spec("model-1", DIMENSION, 64, 1024)


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
        return Upsert(item_id, product_id, self.item(item_id, product_id, seed), vector, if_version)

    def item(self, item_id: str, product_id: str = "", seed: int | str | None = None) -> bytes:
        message = types_pb2.Item(item_id=item_id, product_id=product_id, attributes={"seed": str(seed)})
        return message.SerializeToString()

    def delete(self, item_id: str, if_version: int | None = None) -> Delete:
        return Delete(item_id, if_version)

    def change(self, request_id: str, *mutations: Mutation) -> Change:
        return Change(request_id, hash_payload(repr(mutations).encode()), mutations)

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
    shard = Shard(tmp_path / "data", 0, 1)
    shard.lock()
    shard.load()
    yield shard
    shard.close()


@pytest.fixture
def generation(shard: Shard) -> Generation:
    shard.create("g1", SPEC)
    return shard.generation("g1")
