"""A gateway with canned answers behind a real gRPC server, for the tests of the client and the CLI."""

# ruff: noqa: N802 (the method names of the services)
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from typing import Any

import grpc
import pytest
import structlog

from lookalike.errors import (
    AbortedError,
    DataLossError,
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    NotFoundError,
    Reason,
    UnavailableError,
)
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.server import ServerRunner, Service
from lookalike.runtime.settings import ServerSettings
from lookalike.v1 import (
    catalog_pb2,
    catalog_pb2_grpc,
    collection_pb2,
    collection_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
    types_pb2,
)
from lookalike.wire.status import status_of

SPEC = collection_pb2.CollectionSpec(
    model_version="m1",
    dimension=4,
    bits=256,
    partition_count=1024,
    rerank=collection_pb2.RERANK_PRECISION_F16,
)


@dataclass
class Store:
    """What the fake gateway holds, what it was sent, and how it misbehaves."""

    items: dict[str, catalog_pb2.UpsertItem] = field(default_factory=dict)
    collections: dict[str, collection_pb2.Collection] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    applied: dict[str, int] = field(default_factory=dict)
    """How often each request id of a bulk load arrived."""
    requests: list[Any] = field(default_factory=list)
    break_after_batches: int = 0
    """Break the first stream, after this many batches were written but before the last is answered."""
    moved_aliases: dict[str, str] = field(default_factory=dict)
    """Where aliases point once the first stream broke."""
    checks_generation: bool = True
    """Whether a stream for another generation than the collection's is refused."""
    drain_after_batches: int = 0
    unavailable_calls: int = 0
    failures: list[LookalikeError] = field(default_factory=list)
    """Raised by the next calls, one each."""
    delay_seconds: float = 0.0
    delays: list[float] = field(default_factory=list)
    """Of the next searches, in place of ``delay_seconds``."""
    next_batch_size: int = 5
    batch_sizes: list[int] = field(default_factory=list)
    streams: int = 0
    lost_shards: list[int] = field(default_factory=list)
    """Those that have lost their data, until it is repaired."""
    hits: dict[str, list[search_pb2.Hit]] = field(default_factory=dict)
    """Item searched for → what is found, where that matters."""

    def __post_init__(self) -> None:
        self.collections["default"] = collection_pb2.Collection(
            name="default", spec=SPEC, generation="default.1"
        )

    def fail_if_asked(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    def require(self, name: str) -> collection_pb2.Collection:
        name = self.aliases.get(name, name)
        if name not in self.collections:
            raise NotFoundError(
                f"there is no collection {name!r}", reason=Reason.COLLECTION_NOT_FOUND, field="collection"
            )
        return self.collections[name]


def receipt(position: int) -> types_pb2.WriteReceipt:
    return types_pb2.WriteReceipt(durability=types_pb2.DURABILITY_LOCAL_DISK, log_position=f"p{position}")


def bad_photo(item_id: str) -> catalog_pb2.ItemFailure:
    error = InvalidInputError("the photo is damaged", reason=Reason.IMAGE_DAMAGED, field="image")
    return catalog_pb2.ItemFailure(item_id=item_id, error=status_of(error))


class SearchServicer(search_pb2_grpc.SearchServiceServicer):
    def __init__(self, store: Store) -> None:
        self.store = store

    async def Search(self, request: search_pb2.SearchRequest, context: Any) -> search_pb2.SearchResponse:
        self.store.requests.append(request)
        await asyncio.sleep(self.store.delays.pop(0) if self.store.delays else self.store.delay_seconds)
        return self._answer(request)

    def _answer(self, request: search_pb2.SearchRequest) -> search_pb2.SearchResponse:
        if self.store.unavailable_calls:
            self.store.unavailable_calls -= 1
            raise UnavailableError("shard 1 cannot be reached", retry_after_seconds=0.01)
        self.store.fail_if_asked()
        self.store.require(request.collection)
        if not 1 <= request.k <= 1000:
            raise InvalidInputError(
                f"k must be 1..1000, got {request.k}", reason=Reason.FIELD_OUT_OF_RANGE, field="k"
            )
        hit = search_pb2.Hit(
            product_id="p1",
            item_id="i1",
            score=0.5,
            match_probability=0.25,
            category=types_pb2.CategoryPath(names=["Home", "Lamps"]),
            attributes={"colour": "red"},
            title="Red lamp",
            image_uri="lamp.jpg",
        )
        prediction = types_pb2.CategoryPrediction(
            category=types_pb2.CategoryPath(names=["Home"]),
            level=types_pb2.CATEGORY_LEVEL_META,
            probability=0.75,
        )
        hits = [hit, search_pb2.Hit(product_id="p2", item_id="i2", score=-0.5)]
        return search_pb2.SearchResponse(
            hits=self.store.hits.get(request.query.item_id, hits)[: request.k],
            predicted_categories=[prediction],
            predicted_category=prediction.category,
            gated_categories=[prediction] if request.category_gate else [],
            coverage=types_pb2.Coverage(
                shards_total=2, shards_answered=1, codes_scanned=10, codes_total=40, degraded_reason="shard 1"
            ),
            timing=types_pb2.Timing(total_seconds=0.5, merge_seconds=0.125),
            model_version="m1",
        )

    async def MultiSearch(self, request: search_pb2.MultiSearchRequest, context: Any) -> Any:
        results = []
        for search in request.searches:
            try:
                results.append(search_pb2.SearchResult(response=self._answer(search)))
            except InvalidInputError as error:
                results.append(search_pb2.SearchResult(error=status_of(error)))
        return search_pb2.MultiSearchResponse(results=results)

    async def Classify(self, request: search_pb2.ClassifyRequest, context: Any) -> Any:
        self.store.requests.append(request)
        prediction = types_pb2.CategoryPrediction(
            category=types_pb2.CategoryPath(names=["Home", "Lamps", "Desk"]),
            level=types_pb2.CATEGORY_LEVEL_LEAF,
            probability=0.5,
        )
        return search_pb2.ClassifyResponse(
            predictions=[prediction], model_version="m1", predicted_category=prediction.category
        )

    async def GetServerInfo(self, request: Any, context: Any) -> search_pb2.GetServerInfoResponse:
        return search_pb2.GetServerInfoResponse(
            version="0.1.0",
            model_version="m1",
            embedding_dimension=4,
            shards_total=2,
            limits=search_pb2.Limits(max_k=1000, max_deadline_seconds=60.0),
        )


class CatalogServicer(catalog_pb2_grpc.CatalogServiceServicer):
    def __init__(self, store: Store) -> None:
        self.store = store

    async def UpsertItems(self, request: catalog_pb2.UpsertItemsRequest, context: Any) -> Any:
        self.store.require(request.collection)
        self.store.requests.append(request)
        results = []
        for item in request.items:
            if item.image.content == b"bad":
                failure = bad_photo(item.item.item_id)
                results.append(catalog_pb2.UpsertResult(item_id=failure.item_id, error=failure.error))
            else:
                self.store.items[item.item.item_id] = item
                results.append(catalog_pb2.UpsertResult(item_id=item.item.item_id, version=7))
        return catalog_pb2.UpsertItemsResponse(results=results, receipt=receipt(len(self.store.items)))

    async def DeleteItems(self, request: catalog_pb2.DeleteItemsRequest, context: Any) -> Any:
        kept = [item_id for item_id in request.item_ids if request.if_versions.get(item_id, 7) != 7]
        going = [item_id for item_id in request.item_ids if item_id not in kept]
        deleted = sum(self.store.items.pop(item_id, None) is not None for item_id in going)
        conflict = status_of(AbortedError("it is at version 7"))
        return catalog_pb2.DeleteItemsResponse(
            deleted_count=deleted,
            missing_count=len(going) - deleted,
            receipt=receipt(1),
            failures=[catalog_pb2.ItemFailure(item_id=item_id, error=conflict) for item_id in kept],
        )

    def _stored(self, item_id: str, with_embedding: bool) -> types_pb2.StoredItem:
        stored = self.store.items[item_id]
        message = types_pb2.StoredItem(item=stored.item, version=7)
        message.update_time.FromSeconds(1_000_000_000)
        if with_embedding:
            message.embedding.values.extend([1, 0, 0, 0])
        return message

    async def GetItems(self, request: catalog_pb2.GetItemsRequest, context: Any) -> Any:
        known = [item_id for item_id in request.item_ids if item_id in self.store.items]
        return catalog_pb2.GetItemsResponse(
            items=[self._stored(item_id, request.include_embeddings) for item_id in known],
            missing_item_ids=[item_id for item_id in request.item_ids if item_id not in known],
        )

    async def ListItems(self, request: catalog_pb2.ListItemsRequest, context: Any) -> Any:
        self.store.requests.append(request)
        start = int(request.page_token or 0)
        end = start + request.page_size
        ids = sorted(self.store.items)
        return catalog_pb2.ListItemsResponse(
            items=[self._stored(item_id, request.include_embeddings) for item_id in ids[start:end]],
            next_page_token=str(end) if end < len(ids) else "",
        )

    async def CountItems(self, request: catalog_pb2.CountItemsRequest, context: Any) -> Any:
        self.store.require(request.collection)
        return catalog_pb2.CountItemsResponse(item_count=len(self.store.items))

    async def IngestItems(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        store = self.store
        store.streams += 1
        seen = 0
        async for message in requests:
            if message.HasField("start"):
                found = store.require(message.start.collection)
                store.requests.append(message.start)
                if store.checks_generation and message.start.generation not in ("", found.generation):
                    raise FailedPreconditionError("the alias moved", reason=Reason.GENERATION_MOVED)
                yield catalog_pb2.IngestItemsResponse(
                    next_batch_size=store.next_batch_size, collection=found.name, generation=found.generation
                )
                continue
            seen += 1
            batch = message.batch
            store.applied[batch.request_id] = store.applied.get(batch.request_id, 0) + 1
            store.batch_sizes.append(len(batch.items))
            good = [item for item in batch.items if item.image.content != b"bad"]
            store.items.update({item.item.item_id: item for item in good})
            if store.streams == 1 and seen == store.break_after_batches:
                store.aliases.update(store.moved_aliases)
                raise UnavailableError("shard 0 cannot be reached", retry_after_seconds=0.01)
            yield catalog_pb2.IngestItemsResponse(
                request_id=batch.request_id,
                acknowledged_item_ids=[item.item.item_id for item in good],
                failures=[
                    bad_photo(item.item.item_id) for item in batch.items if item.image.content == b"bad"
                ],
                receipt=receipt(len(store.items)),
                next_batch_size=store.next_batch_size,
                drain=store.streams == 1 and seen == store.drain_after_batches,
            )


class CollectionServicer(collection_pb2_grpc.CollectionServiceServicer):
    def __init__(self, store: Store) -> None:
        self.store = store

    async def CreateCollection(self, request: collection_pb2.CreateCollectionRequest, context: Any) -> Any:
        self.store.requests.append(request)
        made = collection_pb2.Collection(name=request.name, spec=SPEC, generation=f"{request.name}.1")
        if request.spec.rerank:
            made.spec.rerank = request.spec.rerank
        self.store.collections[request.name] = made
        repaired = self.store.lost_shards if request.repair else []
        return collection_pb2.CreateCollectionResponse(collection=made, repaired_shards=repaired)

    async def GetCollection(self, request: collection_pb2.GetCollectionRequest, context: Any) -> Any:
        if self.store.lost_shards:
            raise DataLossError("shard 1: its data is missing")
        found = self.store.require(request.name)
        response = collection_pb2.GetCollectionResponse(collection=found, item_count=len(self.store.items))
        if found.HasField("match_calibration"):
            response.match_calibration.CopyFrom(found.match_calibration)
        return response

    async def SetMatchCalibration(
        self, request: collection_pb2.SetMatchCalibrationRequest, context: Any
    ) -> Any:
        self.store.requests.append(request)
        found = self.store.require(request.collection)
        found.ClearField("match_calibration")
        if request.HasField("match_calibration"):
            found.match_calibration.CopyFrom(request.match_calibration)
        return collection_pb2.SetMatchCalibrationResponse(collection=found)

    async def ListCollections(self, request: Any, context: Any) -> Any:
        return collection_pb2.ListCollectionsResponse(collections=self.store.collections.values())

    async def DeleteCollection(self, request: collection_pb2.DeleteCollectionRequest, context: Any) -> Any:
        self.store.fail_if_asked()
        del self.store.collections[self.store.require(request.name).name]
        return collection_pb2.DeleteCollectionResponse()

    async def SetAlias(self, request: collection_pb2.SetAliasRequest, context: Any) -> Any:
        self.store.require(request.alias.collection)
        previous = self.store.aliases.get(request.alias.name, "")
        self.store.aliases[request.alias.name] = request.alias.collection
        return collection_pb2.SetAliasResponse(alias=request.alias, previous_collection=previous)

    async def DeleteAlias(self, request: collection_pb2.DeleteAliasRequest, context: Any) -> Any:
        if self.store.aliases.pop(request.name, None) is None:
            raise NotFoundError(f"there is no alias {request.name!r}", reason=Reason.ALIAS_NOT_FOUND)
        return collection_pb2.DeleteAliasResponse()

    async def ListAliases(self, request: Any, context: Any) -> Any:
        aliases = [collection_pb2.Alias(name=name, collection=c) for name, c in self.store.aliases.items()]
        return collection_pb2.ListAliasesResponse(aliases=aliases)


@pytest.fixture
def store() -> Store:
    """What the fake gateway holds; change it to make the gateway misbehave."""
    return Store()


@asynccontextmanager
async def serving(store: Store, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serves ``store`` on a free port; yields the address."""

    async def ready() -> str:
        return ""

    def add(server: grpc.aio.Server) -> None:
        search_pb2_grpc.add_SearchServiceServicer_to_server(SearchServicer(store), server)
        catalog_pb2_grpc.add_CatalogServiceServicer_to_server(CatalogServicer(store), server)
        collection_pb2_grpc.add_CollectionServiceServicer_to_server(CollectionServicer(store), server)

    settings = ServerSettings(host=host, metrics_port=-1, drain_wait_seconds=0, stop_grace_seconds=0)
    services = [Service("lookalike.v1.SearchService", add, ready)]
    runner = ServerRunner("fake", services, settings, Metrics())
    with structlog.testing.capture_logs():
        await runner.start()
        yield f"{host}:{runner.port}"
        await runner.stop()


@pytest.fixture
async def target(store: Store) -> AsyncIterator[str]:
    """The address of a gateway that serves ``store`` in the test's own loop."""
    async with serving(store) as address:
        yield address


@pytest.fixture
def threaded_target(store: Store) -> Iterator[str]:
    """The same from a thread, for tests that are not coroutines."""
    started: SimpleQueue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = SimpleQueue()

    async def serve() -> None:
        stop = asyncio.Event()
        async with serving(store) as address:
            started.put((address, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    address, loop, stop = started.get(timeout=30)
    yield address
    loop.call_soon_threadsafe(stop.set)
    thread.join()
