"""The seam below writes: the direct log, and another one that nothing above has to know of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from gateway.admission import Admission
from gateway.config import GatewaySettings
from gateway.deadline import Deadline
from gateway.directory.base import Collection
from gateway.directory.sqlite import SqliteDirectory
from gateway.fanout import Shards
from gateway.limit import FixedLimit
from gateway.log.base import Appended, Write, WriteLog
from gateway.log.direct import DirectLog
from gateway.matching import Calibrations
from gateway.metrics import GatewayMetrics
from gateway.native_fanout import Searcher
from gateway.search import SearchPipeline
from gateway.searches import SearchAdmission
from gateway.writes import Writer
from lookalike.collections import Spec
from lookalike.errors import AbortedError, InvalidInputError, Reason, UnavailableError
from lookalike.placement import partition_of
from lookalike.runtime.memory import MemoryWatch
from lookalike.runtime.metrics import Metrics
from lookalike.v1 import catalog_pb2, hasher_pb2, search_pb2, types_pb2
from lookalike.wire.status import error_from_status, status_of

if TYPE_CHECKING:
    from conftest import FakeEmbedder, FakeShard

LANES = 4
SHARDS_OF_LANE = {0: [0], 1: [1], 2: [0, 1], 3: [1]}


@dataclass
class LaneLog:
    """A replicated log in memory, which gives positions in lanes; the shards follow it by themselves."""

    log_id: str = "stream-1"
    lanes: dict[int, list[hasher_pb2.Mutation]] = field(default_factory=dict)
    seen: dict[str, tuple[bytes, Appended]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    failure: UnavailableError | None = None

    async def append(self, collection: Collection, write: Write, deadline: Deadline) -> Appended:
        if self.failure:
            raise self.failure
        if write.request_id in self.seen:
            digest, appended = self.seen[write.request_id]
            if digest != write.content_digest:
                raise InvalidInputError("used before", reason=Reason.REQUEST_ID_REUSED, field="request_id")
            return appended
        outcomes, positions = [], {}
        for item_id, encoded in zip(write.item_ids, write.mutations, strict=True):
            (mutation,) = hasher_pb2.Mutations.FromString(encoded).mutations
            lane = partition_of(item_id, collection.spec.partition_count) % LANES
            self.lanes.setdefault(lane, []).append(mutation)
            positions[lane] = len(self.lanes[lane])
            outcomes.append(self._apply(item_id, mutation))
        appended = Appended(outcomes, positions, types_pb2.DURABILITY_REPLICATED_LOG)
        self.seen[write.request_id] = (write.content_digest, appended)
        return appended

    def _apply(self, item_id: str, mutation: hasher_pb2.Mutation) -> hasher_pb2.MutationResult:
        version, existed = self.versions.get(item_id, 0), item_id in self.versions
        if mutation.HasField("if_version") and mutation.if_version != version:
            return hasher_pb2.MutationResult(error=status_of(AbortedError("conflict")), existed=existed)
        if mutation.WhichOneof("operation") == "delete_item_id":
            self.versions.pop(item_id, None)
            return hasher_pb2.MutationResult(version=0, existed=existed)
        self.versions[item_id] = version + 1
        return hasher_pb2.MutationResult(version=version + 1, existed=existed)

    def min_positions(self, positions: Mapping[int, int]) -> dict[int, dict[int, int]]:
        if not positions.keys() <= SHARDS_OF_LANE.keys():
            raise ValueError("no such lane")
        demanded: dict[int, dict[int, int]] = {}
        for lane, position in positions.items():
            for shard in SHARDS_OF_LANE[lane]:
                demanded.setdefault(shard, {})[lane] = position
        return demanded


@dataclass
class Bench:
    """What stands above a log."""

    writer: Writer
    pipeline: SearchPipeline
    shards: list[FakeShard]

    async def upsert(self, *ids: str, request_id: str = "", **fields: int) -> catalog_pb2.UpsertItemsResponse:
        items = [
            catalog_pb2.UpsertItem(
                item=types_pb2.Item(item_id=item_id),
                embedding=types_pb2.Embedding(values=[1.0] * 8),
                **fields,
            )
            for item_id in ids
        ]
        request = catalog_pb2.UpsertItemsRequest(collection="shop", items=items, request_id=request_id)
        return await self.writer.upsert(request, Deadline(5))

    async def delete(self, *ids: str) -> catalog_pb2.DeleteItemsResponse:
        request = catalog_pb2.DeleteItemsRequest(collection="shop", item_ids=ids)
        return await self.writer.delete(request, Deadline(5))

    async def search(self, token: str) -> search_pb2.SearchResponse:
        query = search_pb2.Query(embedding=types_pb2.Embedding(values=[1.0] * 8))
        request = search_pb2.SearchRequest(collection="shop", k=1, query=query, min_log_position=token)
        return search_pb2.SearchResponse.FromString(await self.pipeline.search(request, Deadline(5)))


MakeBench = Callable[[Callable[[Shards], WriteLog]], "Bench"]


@pytest.fixture
async def make_bench(
    directory: SqliteDirectory,
    embedder: FakeEmbedder,
    make_shards: Callable[[int], list[FakeShard]],
    fan_out: Callable[..., Shards],
    search_over: Callable[..., Awaitable[Searcher]],
) -> MakeBench:
    """Puts writer and search over a log and two shards that have the collection "shop"."""
    await directory.begin_create("shop", Spec("model-a", 8, 256, 64))
    generation = (await directory.finish_create("shop")).generation
    fakes = make_shards(2)
    shards = fan_out(fakes)
    create = hasher_pb2.ApplyRequest(
        generation=generation, request_id="c", create=directory.resolve("shop").spec.to_message()
    )
    for number, request in shards.for_all(create).items():
        request.target.shard, request.target.shard_count, request.target.layout_epoch = number, 2, 1
        request.target.installation_id = "installation"
        await fakes[number].apply(request, timeout_seconds=1)

    searcher = await search_over(fakes)

    def make(make_log: Callable[[Shards], WriteLog]) -> Bench:
        log, metrics = make_log(shards), GatewayMetrics(Metrics())
        slots = Admission("writes", FixedLimit(4), 4, metrics)
        writer = Writer(directory, embedder, log, slots, MemoryWatch(Metrics()), metrics)
        unwatched: Any = SimpleNamespace(answered=lambda asked, best_score, best_match: None)
        searches = SearchAdmission(GatewaySettings(data_folder=Path()), metrics)
        pipeline = SearchPipeline(
            directory, embedder, searcher, shards, log, Calibrations(), searches, metrics, unwatched, 9.0
        )
        return Bench(writer, pipeline, fakes)

    return make


IDS = [f"item-{number}" for number in range(12)]


async def test_another_log_needs_no_change_above_it(make_bench: MakeBench) -> None:
    log = LaneLog()
    bench = make_bench(lambda _: log)
    written = await bench.upsert(*IDS, request_id="r")
    assert [result.version for result in written.results] == [1] * 12
    assert written.receipt.durability == types_pb2.DURABILITY_REPLICATED_LOG
    assert await bench.upsert(*IDS, request_id="r") == written
    assert sum(map(len, log.lanes.values())) == 12
    with pytest.raises(InvalidInputError, match="used before"):
        await bench.upsert("other", request_id="r")
    conflict = await bench.upsert("item-0", "new", if_version=7)
    assert [error_from_status(result.error).reason for result in conflict.results] == [
        Reason.VERSION_CONFLICT,
        Reason.VERSION_CONFLICT,
    ]
    assert not conflict.HasField("receipt")
    deleted = await bench.delete("item-0", "nobody")
    assert (deleted.deleted_count, deleted.missing_count) == (1, 1)
    await bench.search(written.receipt.log_position)
    positions = log.seen["r"][1].positions
    for number, shard in enumerate(bench.shards):
        expected = {lane: p for lane, p in positions.items() if number in SHARDS_OF_LANE[lane]}
        assert dict(shard.searched[-1].min_positions) == expected
    log.failure = UnavailableError("no majority")
    with pytest.raises(UnavailableError, match="no majority"):
        await bench.upsert("item-1")


async def test_a_token_is_of_one_log(make_bench: MakeBench) -> None:
    receipts = []
    for log in (LaneLog(), LaneLog(log_id="stream-2")):
        bench = make_bench(lambda _, log=log: log)
        receipts.append((await bench.upsert(*IDS)).receipt)
    await bench.search(receipts[1].log_position)
    with pytest.raises(InvalidInputError, match="another log"):
        await bench.search(receipts[0].log_position)


async def test_a_token_with_positions_that_the_log_does_not_give_is_refused(make_bench: MakeBench) -> None:
    fewer = make_bench(lambda shards: DirectLog(shards, "log", 2**24))
    many = LaneLog(log_id="log")
    token = (await make_bench(lambda _: many).upsert(*IDS)).receipt.log_position
    with pytest.raises(InvalidInputError, match="not a token") as caught:
        await fewer.search(token)
    assert caught.value.field == "min_log_position"


async def test_the_direct_log_demands_each_shards_own_position(make_bench: MakeBench) -> None:
    bench = make_bench(lambda shards: DirectLog(shards, "log", 2**24))
    await bench.upsert(*IDS)
    written = await bench.upsert("item-0")
    assert written.receipt.durability == types_pb2.DURABILITY_LOCAL_DISK
    await bench.search(written.receipt.log_position)
    demands = [dict(shard.searched[-1].min_positions) for shard in bench.shards]
    assert sorted(demands, key=len) == [{}, {0: 2}]


async def test_a_part_that_is_too_large_for_its_shard_is_refused_whole(make_bench: MakeBench) -> None:
    bench = make_bench(lambda shards: DirectLog(shards, "log", 1000))
    with pytest.raises(InvalidInputError, match="too large for one write") as caught:
        await bench.upsert(*IDS * 1, *[f"more-{n}" for n in range(50)])
    assert caught.value.reason is Reason.BATCH_TOO_LARGE
    assert [len(shard.applied) for shard in bench.shards] == [1, 1], "only the creation"
