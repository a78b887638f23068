from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.deadline import Deadline
from gateway.directory.base import State, resolve
from gateway.directory.lifecycle import Lifecycle, shard_request_id
from gateway.directory.sqlite import Registry
from gateway.fanout import Shards
from lookalike.collections import Spec
from lookalike.errors import (
    AlreadyExistsError,
    DataLossError,
    FailedPreconditionError,
    InvalidInputError,
    NotFoundError,
    Reason,
    UnavailableError,
)
from lookalike.v1 import collection_pb2

if TYPE_CHECKING:
    from conftest import FakeEmbedder, FakeShard

EMPTY = collection_pb2.CollectionSpec()


class Bench:
    """A lifecycle over two fake shards."""

    def __init__(self, registry: Registry, embedder: FakeEmbedder, shards: list[FakeShard]) -> None:
        self.registry, self.embedder, self.shards = registry, embedder, shards
        self.lifecycle = Lifecycle(registry, embedder, Shards(shards, lambda _: None))

    async def create(self, name: str = "shop", spec: collection_pb2.CollectionSpec = EMPTY) -> str:
        return (await self.lifecycle.create(name, spec, Deadline(5))).generation

    async def delete(self, name: str = "shop") -> None:
        await self.lifecycle.delete(name, Deadline(5))

    def on_shards(self) -> list[list[str]]:
        return [sorted(shard.generations) for shard in self.shards]


@pytest.fixture
def bench(registry: Registry, embedder: FakeEmbedder, make_shards: Callable[[int], list[FakeShard]]) -> Bench:
    return Bench(registry, embedder, make_shards(2))


async def test_create_fills_the_spec_and_reaches_every_shard(bench: Bench) -> None:
    assert await bench.create() == "shop.1"
    assert bench.registry.resolve("shop").spec == Spec("model-a", 8, 256, 1024)
    assert bench.on_shards() == [["shop.1"], ["shop.1"]]
    sent = bench.shards[1].generations["shop.1"].spec
    assert sent.rerank == collection_pb2.RERANK_PRECISION_F16
    assert (sent.model_version, sent.dimension, sent.bits, sent.partition_count) == ("model-a", 8, 256, 1024)


async def test_the_same_create_again_is_answered_alike(bench: Bench) -> None:
    await bench.create()
    bench.embedder.model_version = "model-b"
    assert await bench.create() == "shop.1"
    assert await bench.create(spec=collection_pb2.CollectionSpec(model_version="model-a")) == "shop.1"
    assert len(bench.shards[0].applied) == 1


@pytest.mark.parametrize(
    "other",
    [
        collection_pb2.CollectionSpec(model_version="model-b"),
        collection_pb2.CollectionSpec(dimension=16),
        collection_pb2.CollectionSpec(bits=512),
        collection_pb2.CollectionSpec(partition_count=1),
        collection_pb2.CollectionSpec(rerank="RERANK_PRECISION_INT8"),
    ],
)
async def test_another_spec_is_refused(bench: Bench, other: collection_pb2.CollectionSpec) -> None:
    await bench.create()
    with pytest.raises(AlreadyExistsError, match="another spec"):
        await bench.create(spec=other)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (collection_pb2.CollectionSpec(dimension=1), "spec.dimension"),
        (collection_pb2.CollectionSpec(dimension=4097), "spec.dimension"),
        (collection_pb2.CollectionSpec(dimension=16), "spec.dimension"),
        (collection_pb2.CollectionSpec(model_version="unknown"), "spec.dimension"),
        (collection_pb2.CollectionSpec(bits=65), "spec.bits"),
        (collection_pb2.CollectionSpec(bits=2112), "spec.bits"),
        (collection_pb2.CollectionSpec(partition_count=65537), "spec.partition_count"),
        (collection_pb2.CollectionSpec(model_version="m" * 129, dimension=8), "spec.model_version"),
    ],
)
async def test_bad_specs_are_refused(bench: Bench, spec: collection_pb2.CollectionSpec, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await bench.create(spec=spec)
    assert caught.value.field == field
    assert bench.on_shards() == [[], []]


@pytest.mark.parametrize("name", ["", "Shop", "-shop", "a" * 64, "a b", "a/b", "ä", "shop\n"])
async def test_bad_names_are_refused(bench: Bench, name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await bench.create(name)
    assert caught.value.field == "name"


async def test_a_spec_that_is_complete_needs_no_embedder(bench: Bench) -> None:
    bench.embedder.failure = UnavailableError("down", reason=Reason.EMBEDDER_UNAVAILABLE)
    with pytest.raises(UnavailableError):
        await bench.create()
    assert await bench.create(spec=collection_pb2.CollectionSpec(model_version="m", dimension=4)) == "shop.1"


async def test_a_create_that_reached_one_shard_is_finished_by_repeating_it(bench: Bench) -> None:
    bench.shards[1].failure = UnavailableError("down")
    with pytest.raises(UnavailableError, match="shard 1: unreachable; creating"):
        await bench.create()
    assert bench.on_shards() == [["shop.1"], []]
    with pytest.raises(NotFoundError, match="repeat CreateCollection"):
        resolve(bench.registry, "shop")
    with pytest.raises(AlreadyExistsError):
        await bench.create(spec=collection_pb2.CollectionSpec(bits=64))
    bench.shards[1].failure = None
    assert await bench.create() == "shop.1"
    assert bench.on_shards() == [["shop.1"], ["shop.1"]]
    assert resolve(bench.registry, "shop").state is State.READY


async def test_a_delete_that_reached_one_shard_is_finished_by_repeating_it(bench: Bench) -> None:
    await bench.create()
    bench.shards[0].failure = UnavailableError("down")
    with pytest.raises(UnavailableError):
        await bench.delete()
    with pytest.raises(NotFoundError):
        resolve(bench.registry, "shop")
    bench.shards[0].failure = None
    await bench.delete()
    assert bench.on_shards() == [[], []]
    with pytest.raises(NotFoundError):
        await bench.delete()


async def test_creating_over_an_unfinished_delete_gives_a_new_generation(bench: Bench) -> None:
    await bench.create()
    bench.shards[0].failure = UnavailableError("down")
    with pytest.raises(UnavailableError):
        await bench.delete()
    bench.shards[0].failure = None
    assert await bench.create() == "shop.2"
    assert bench.on_shards() == [["shop.2"], ["shop.2"]]


async def test_generations_are_never_used_again(bench: Bench) -> None:
    seen = set()
    for _ in range(3):
        seen.add(await bench.create())
        await bench.delete()
    assert seen == {"shop.1", "shop.2", "shop.3"}


async def test_aliases_move_guard_and_end(bench: Bench) -> None:
    await bench.create("one")
    await bench.create("two")
    assert bench.registry.set_alias("live", "one") == ""
    assert bench.registry.set_alias("live", "two") == "one"
    assert resolve(bench.registry, "live").name == "two"
    with pytest.raises(FailedPreconditionError, match='"live" points to'):
        await bench.delete("two")
    with pytest.raises(NotFoundError, match="is an alias"):
        await bench.delete("live")
    with pytest.raises(AlreadyExistsError, match="name of an alias"):
        await bench.create("live")
    with pytest.raises(AlreadyExistsError):
        bench.registry.set_alias("one", "two")
    with pytest.raises(NotFoundError):
        bench.registry.set_alias("live", "three")
    assert bench.registry.aliases() == [("live", "two")]
    bench.registry.delete_alias("live")
    with pytest.raises(NotFoundError) as caught:
        bench.registry.delete_alias("live")
    assert caught.value.reason is Reason.ALIAS_NOT_FOUND
    await bench.delete("two")


async def test_no_name_means_default(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        resolve(bench.registry, "")
    await bench.create("default")
    assert resolve(bench.registry, "").name == "default"


def test_the_record_survives_a_restart(tmp_path: Path) -> None:
    first = Registry(tmp_path)
    kept = first.begin_create("shop", Spec("m", 4, 64, 8))
    first.finish_create("shop")
    first.set_alias("live", "shop")
    first.begin_create("half", Spec("m", 4, 64, 8))
    first.close()
    second = Registry(tmp_path)
    assert second.resolve("live").generation == kept.generation == "shop.1"
    assert [collection.name for collection in second.ready()] == ["shop"]
    assert second.begin_delete("half").state is State.CREATING
    second.close()


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "collections.sqlite"
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(DataLossError, match="damaged"):
        Registry(tmp_path)
    with pytest.raises(InvalidInputError, match="data_folder"):
        Registry(file)


@pytest.mark.parametrize("request_id", ["r", "r" * 62, "r" * 63, "r" * 64, "ä" * 32])
def test_request_ids_of_shards_fit_and_differ(request_id: str) -> None:
    ids = [shard_request_id(request_id, str(shard)) for shard in range(3)]
    assert len(set(ids)) == 3
    assert all(len(one.encode()) <= 64 for one in ids)
    assert ids == [shard_request_id(request_id, str(shard)) for shard in range(3)]
