from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.deadline import Deadline
from gateway.directory.base import State
from gateway.directory.lifecycle import Lifecycle
from gateway.directory.sqlite import SqliteDirectory
from gateway.fanout import Shards
from gateway.peers import UnreachableError
from lookalike.collections import Spec
from lookalike.errors import (
    AlreadyExistsError,
    DeadlineError,
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

    def __init__(
        self, directory: SqliteDirectory, embedder: FakeEmbedder, shards: list[FakeShard], fan_out: Shards
    ) -> None:
        self.directory, self.embedder, self.shards = directory, embedder, shards
        self.lifecycle = Lifecycle(directory, embedder, fan_out)
        self.repaired: list[int] = []

    async def create(
        self, name: str = "shop", spec: collection_pb2.CollectionSpec = EMPTY, *, repair: bool = False
    ) -> str:
        request = collection_pb2.CreateCollectionRequest(name=name, spec=spec, repair=repair)
        collection, self.repaired = await self.lifecycle.create(request, Deadline(5))
        return collection.generation

    async def delete(self, name: str = "shop") -> None:
        await self.lifecycle.delete(name, Deadline(5))

    def on_shards(self) -> list[list[str]]:
        return [sorted(shard.generations) for shard in self.shards]


@pytest.fixture
def bench(
    directory: SqliteDirectory,
    embedder: FakeEmbedder,
    make_shards: Callable[[int], list[FakeShard]],
    fan_out: Callable[..., Shards],
) -> Bench:
    shards = make_shards(2)
    return Bench(directory, embedder, shards, fan_out(shards))


async def test_create_fills_the_spec_and_reaches_every_shard(bench: Bench) -> None:
    generation = await bench.create()
    assert re.fullmatch(r"shop\.[0-9a-f]{20}", generation)
    assert bench.directory.resolve("shop").spec == Spec("model-a", 8, 256, 1024)
    assert bench.on_shards() == [[generation], [generation]]
    sent = bench.shards[1].generations[generation].spec
    assert sent.rerank == collection_pb2.RERANK_PRECISION_F16
    assert (sent.model_version, sent.dimension, sent.bits, sent.partition_count) == ("model-a", 8, 256, 1024)


async def test_the_same_create_again_is_answered_alike(bench: Bench) -> None:
    generation = await bench.create()
    bench.embedder.model_version = "model-b"
    assert await bench.create() == generation
    assert await bench.create(spec=collection_pb2.CollectionSpec(model_version="model-a")) == generation
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
    assert await bench.create(spec=collection_pb2.CollectionSpec(model_version="m", dimension=4))


async def test_a_create_that_reached_one_shard_is_finished_by_repeating_it(bench: Bench) -> None:
    bench.shards[1].failure = UnreachableError("down")
    with pytest.raises(UnavailableError, match="shard 1: unreachable; creating"):
        await bench.create()
    generation = bench.directory.collections()[0].generation
    assert bench.on_shards() == [[generation], []]
    with pytest.raises(NotFoundError, match="repeat CreateCollection"):
        bench.directory.resolve("shop")
    with pytest.raises(AlreadyExistsError):
        await bench.create(spec=collection_pb2.CollectionSpec(bits=64))
    bench.shards[1].failure = None
    assert await bench.create() == generation
    assert bench.on_shards() == [[generation], [generation]]
    assert bench.directory.resolve("shop").state is State.READY


async def test_a_shard_that_lost_its_data_is_repaired_only_when_asked(bench: Bench) -> None:
    generation = await bench.create()
    bench.shards[1].generations.clear()
    assert await bench.create() == generation
    assert bench.on_shards() == [[generation], []]
    first = bench.shards[1].applied[0]
    applied = len(bench.shards[0].applied)
    assert bench.repaired == []
    assert await bench.create(repair=True) == generation
    assert bench.repaired == [1]
    assert bench.on_shards() == [[generation], [generation]]
    assert bench.shards[1].applied[-1] == first, "the same creation under the same request id"
    assert len(bench.shards[0].applied) == applied, "a shard with its data is left alone"
    bench.shards[0].failure = UnreachableError("down")
    with pytest.raises(UnavailableError, match="finding out which shards"):
        await bench.create(repair=True)


async def test_a_change_behind_one_that_hangs_ends_at_its_deadline(bench: Bench) -> None:
    bench.shards[0].hangs = True
    request = collection_pb2.CreateCollectionRequest(name="shop")
    hanging = asyncio.create_task(bench.lifecycle.create(request, Deadline(5)))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineError, match="waited behind"):
        await bench.lifecycle.delete("other", Deadline(0.05))
    hanging.cancel()


async def test_a_delete_that_reached_one_shard_is_finished_by_repeating_it(bench: Bench) -> None:
    await bench.create()
    bench.shards[0].failure = UnavailableError("down")
    with pytest.raises(UnavailableError):
        await bench.delete()
    with pytest.raises(NotFoundError):
        bench.directory.resolve("shop")
    bench.shards[0].failure = None
    await bench.delete()
    assert bench.on_shards() == [[], []]
    with pytest.raises(NotFoundError):
        await bench.delete()


async def test_creating_over_an_unfinished_delete_gives_a_new_generation(bench: Bench) -> None:
    old = await bench.create()
    bench.shards[0].failure = UnavailableError("down")
    with pytest.raises(UnavailableError):
        await bench.delete()
    bench.shards[0].failure = None
    new = await bench.create()
    assert new != old
    assert bench.on_shards() == [[new], [new]]


async def test_two_directories_never_give_the_same_generation(bench: Bench, tmp_path: Path) -> None:
    other = SqliteDirectory(tmp_path / "restored")
    generation = await bench.create()
    assert (await other.begin_create("shop", Spec("model-a", 8, 256, 1024))).generation != generation
    assert other.installation_id != bench.directory.installation_id
    other.close()


async def test_aliases_move_guard_and_end(bench: Bench) -> None:
    await bench.create("one")
    await bench.create("two")
    assert await bench.directory.set_alias("live", "one") == ""
    assert await bench.directory.set_alias("live", "two") == "one"
    assert bench.directory.resolve("live").name == "two"
    with pytest.raises(FailedPreconditionError, match="'live' points to"):
        await bench.delete("two")
    with pytest.raises(NotFoundError, match="is an alias"):
        await bench.delete("live")
    with pytest.raises(AlreadyExistsError, match="name of an alias"):
        await bench.create("live")
    with pytest.raises(AlreadyExistsError):
        await bench.directory.set_alias("one", "two")
    with pytest.raises(NotFoundError, match="there is no collection 'three'"):
        await bench.directory.set_alias("live", "three")
    with pytest.raises(NotFoundError, match=r"'live' is an alias, and an alias cannot .* collection, 'two'"):
        await bench.directory.set_alias("other", "live")
    assert bench.directory.aliases() == [("live", "two")]
    await bench.directory.delete_alias("live")
    with pytest.raises(NotFoundError) as caught:
        await bench.directory.delete_alias("live")
    assert caught.value.reason is Reason.ALIAS_NOT_FOUND
    await bench.delete("two")


async def test_no_name_means_default(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        bench.directory.resolve("")
    await bench.create("default")
    assert bench.directory.resolve("").name == "default"
