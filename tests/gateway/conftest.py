"""The gateway over in-memory fakes of its two ports, called directly or through a real gRPC server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.config import GatewaySettings
from gateway.directory.sqlite import SqliteDirectory
from gateway.fanout import Shards
from gateway.metrics import GatewayMetrics
from gateway.native_fanout import Searcher
from gateway.server import build_server
from lookalike.errors import (
    AbortedError,
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    NotFoundError,
    Reason,
)
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.server import ServerRunner
from lookalike.v1 import (
    catalog_pb2,
    catalog_pb2_grpc,
    collection_pb2,
    collection_pb2_grpc,
    hasher_pb2,
    search_pb2,
    search_pb2_grpc,
    types_pb2,
)
from lookalike.wire import vectors
from lookalike.wire.channel import open_channel
from lookalike.wire.filters import filter_of
from lookalike.wire.status import status_of
from tests.gateway.fake_embedder import DIMENSION, FakeEmbedder
from tests.gateway.search_ports import SearchPort, open_ports
from tests.hasher.oracle import passes


@dataclass
class FakeGeneration:
    spec: collection_pb2.CollectionSpec
    rows: dict[str, hasher_pb2.Row] = field(default_factory=dict)
    requests: dict[str, tuple[bytes, hasher_pb2.ApplyResponse]] = field(default_factory=dict)
    position: int = 0
    failure: str = ""


@dataclass
class FakeShard:
    """A shard that keeps its rows in a dict and searches by brute force."""

    number: int = 0
    count: int = 1
    failure: LookalikeError | None = None
    fail_after: int = 0
    """Calls that still succeed before ``failure`` shows."""
    hangs: bool = False
    delay_seconds: float = 0.0
    installation_id: str = ""
    """The one that it belongs to; the first that creates a generation on it, where none is given."""
    generations: dict[str, FakeGeneration] = field(default_factory=dict)
    applied: list[hasher_pb2.ApplyRequest] = field(default_factory=list)
    searched: list[hasher_pb2.HasherServiceSearchRequest] = field(default_factory=list)
    overlooked: set[str] = field(default_factory=set)
    """Item ids that only exact searches find."""
    search_port: SearchPort = field(init=False, repr=False)

    async def _enter(self, target: hasher_pb2.ShardIdentity) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(self.delay_seconds)
        assert target.layout_epoch == 1
        if (target.shard, target.shard_count) != (self.number, self.count):
            raise FailedPreconditionError("not for this shard", reason=Reason.SHARD_LAYOUT_MISMATCH)
        if self.installation_id not in ("", target.installation_id):
            raise FailedPreconditionError("of another installation", reason=Reason.INSTALLATION_MISMATCH)
        if self.failure:
            if not self.fail_after:
                raise self.failure
            self.fail_after -= 1

    def _generation(self, name: str) -> FakeGeneration:
        if name not in self.generations:
            raise NotFoundError(f"unknown generation {name}", reason=Reason.COLLECTION_NOT_FOUND)
        return self.generations[name]

    async def apply(
        self, request: hasher_pb2.ApplyRequest, *, timeout_seconds: float
    ) -> hasher_pb2.ApplyResponse:
        await self._enter(request.target)
        assert 1 <= len(request.request_id.encode()) <= 64
        self.applied.append(request)
        match request.WhichOneof("change"):
            case "create":
                self.installation_id = request.target.installation_id
                self.generations.setdefault(request.generation, FakeGeneration(request.create))
            case "drop":
                self.generations.pop(request.generation, None)
            case "write":
                return self._write(self._generation(request.generation), request)
        return hasher_pb2.ApplyResponse()

    def _write(
        self, generation: FakeGeneration, request: hasher_pb2.ApplyRequest
    ) -> hasher_pb2.ApplyResponse:
        if request.request_id in generation.requests:
            digest, response = generation.requests[request.request_id]
            if digest != request.content_digest:
                raise InvalidInputError(
                    "request_id was used before", reason=Reason.REQUEST_ID_REUSED, field="request_id"
                )
            return response
        generation.position += 1
        response = hasher_pb2.ApplyResponse(position=generation.position)
        for mutation in request.write.mutations:
            upsert = mutation.upsert
            item_id = upsert.item.item_id or mutation.delete_item_id
            existed = item_id in generation.rows
            version = generation.rows[item_id].stored.version if existed else 0
            if mutation.HasField("if_version") and mutation.if_version != version:
                conflict = AbortedError(f"the version is {version}")
                response.results.add(existed=existed).error.CopyFrom(status_of(conflict))
                continue
            if mutation.WhichOneof("operation") == "upsert":
                row = hasher_pb2.Row(vector_f32_le=upsert.vector_f32_le)
                row.stored.item.CopyFrom(upsert.item)
                row.stored.version = generation.position
                generation.rows[item_id] = row
            else:
                generation.rows.pop(item_id, None)
            response.results.add(version=generation.position, existed=existed)
        generation.requests[request.request_id] = (request.content_digest, response)
        return response

    async def search(
        self, request: hasher_pb2.HasherServiceSearchRequest, *, timeout_seconds: float
    ) -> hasher_pb2.HasherServiceSearchResponse:
        await self._enter(request.target)
        self.searched.append(request)
        rows = self._generation(request.generation).rows
        response = hasher_pb2.HasherServiceSearchResponse(codes_total=len(rows))
        response.timing.scan_seconds = 0.001 * (1 + self.number)
        for query in vectors.unit(
            vectors.from_bytes(request.vectors_f32_le, DIMENSION, "vectors"), "vectors"
        ):
            response.results.add(codes_scanned=len(rows), hits=self._hits(rows, query, request))
        return response

    def _hits(
        self,
        rows: dict[str, hasher_pb2.Row],
        query: NDArray[np.float32],
        request: hasher_pb2.HasherServiceSearchRequest,
    ) -> list[search_pb2.Hit]:
        filter = filter_of(request.filter, "filter")
        scored = [
            (float(np.float32(vectors.from_bytes(row.vector_f32_le, DIMENSION, "row")[0] @ query)), item_id)
            for item_id, row in rows.items()
            if item_id != request.exclude_item_id and (request.exact or item_id not in self.overlooked)
            if passes(filter, row.stored.item.category.names, row.stored.item.attributes)
        ]
        hits: list[search_pb2.Hit] = []
        seen: set[str] = set()
        for score, item_id in sorted(scored, key=lambda pair: (-pair[0], pair[1])):
            item = rows[item_id].stored.item
            product = item.product_id or f"item:{item_id}"
            if len(hits) < request.k and not (request.group_by_product and product in seen):
                seen.add(product)
                hits.append(
                    search_pb2.Hit(
                        product_id=item.product_id,
                        item_id=item_id,
                        score=score,
                        category=item.category,
                        attributes=item.attributes,
                        title=item.title,
                        image_uri=item.image_uri,
                    )
                )
        return hits

    async def get_rows(
        self, request: hasher_pb2.GetRequest, *, timeout_seconds: float
    ) -> hasher_pb2.GetResponse:
        await self._enter(request.target)
        rows = self._generation(request.generation).rows
        found = [rows[item_id] for item_id in request.item_ids if item_id in rows]
        return hasher_pb2.GetResponse(rows=[self._shown(row, request.include_vectors) for row in found])

    async def list_rows(
        self, request: hasher_pb2.ListRequest, *, timeout_seconds: float
    ) -> hasher_pb2.ListResponse:
        await self._enter(request.target)
        rows = self._generation(request.generation).rows
        ids = sorted((i for i in rows if i.encode() > request.after_item_id.encode()), key=str.encode)
        page = [self._shown(rows[i], request.include_vectors) for i in ids[: request.page_size]]
        return hasher_pb2.ListResponse(rows=page, more=len(ids) > request.page_size)

    async def describe(
        self, request: hasher_pb2.DescribeRequest, *, timeout_seconds: float
    ) -> hasher_pb2.DescribeResponse:
        await self._enter(request.target)
        response = hasher_pb2.DescribeResponse(
            shard=self.number, shard_count=self.count, installation_id=self.installation_id, layout_epoch=1
        )
        if request.generation:
            self._generation(request.generation)
        for name, generation in sorted(self.generations.items()):
            if request.generation in ("", name):
                info = response.generations.add(
                    generation=name, item_count=len(generation.rows), failure=generation.failure
                )
                if request.with_profile and generation.rows:
                    self._describe_rows(generation, info.profile)
        return response

    @staticmethod
    def _describe_rows(generation: FakeGeneration, profile: hasher_pb2.Profile) -> None:
        rows = generation.rows.values()
        matrix = np.stack([vectors.from_bytes(row.vector_f32_le, DIMENSION, "row")[0] for row in rows])
        profile.row_count = len(matrix)
        profile.mean_f32_le = vectors.to_bytes(matrix.mean(axis=0))
        for row in rows:
            for meta in row.stored.item.category.names[:1]:
                profile.meta_rows[meta] += 1

    @staticmethod
    def _shown(row: hasher_pb2.Row, with_vector: bool) -> hasher_pb2.Row:
        shown = hasher_pb2.Row()
        shown.CopyFrom(row)
        if not with_vector:
            shown.ClearField("vector_f32_le")
        return shown


@dataclass
class Gateway:
    """A gateway that serves on a free port, with its fakes and stubs for its services."""

    embedder: FakeEmbedder
    shards: list[FakeShard]
    directory: SqliteDirectory
    runner: ServerRunner
    search: search_pb2_grpc.SearchServiceStub
    catalog: catalog_pb2_grpc.CatalogServiceStub
    collections: collection_pb2_grpc.CollectionServiceStub
    channel: grpc.aio.Channel

    def generation(self, name: str = "shop") -> str:
        return self.directory.resolve(name).generation

    def on_shards(self, name: str = "shop") -> list[FakeGeneration]:
        """What each shard holds of a collection."""
        return [shard.generations[self.generation(name)] for shard in self.shards]

    def sample(self, metric: str, **labels: str) -> float | None:
        return self.runner._metrics.registry.get_sample_value(f"lookalike_gateway_{metric}", labels)

    async def create(self, name: str = "shop") -> None:
        await self.collections.CreateCollection(collection_pb2.CreateCollectionRequest(name=name))

    async def fill(self, count: int, products: int, name: str = "shop") -> list[catalog_pb2.UpsertItem]:
        """Creates a collection and writes items item-0000… with seeded vectors."""
        await self.create(name)
        rng = np.random.default_rng(7)
        items = [
            catalog_pb2.UpsertItem(
                item=types_pb2.Item(item_id=f"item-{i:04}", product_id=f"product-{i % products}"),
                embedding=types_pb2.Embedding(values=rng.normal(size=DIMENSION)),
            )
            for i in range(count)
        ]
        for start in range(0, count, 256):
            await self.catalog.UpsertItems(
                catalog_pb2.UpsertItemsRequest(collection=name, items=items[start : start + 256])
            )
        return items


StartGateway = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def start_gateway(tmp_path: Path) -> AsyncIterator[StartGateway]:
    """Starts a gateway over fakes; keyword arguments are settings."""
    async with AsyncExitStack() as stack:

        async def start(shard_count: int = 3, **settings: object) -> Gateway:
            embedder = FakeEmbedder()
            shards = [FakeShard(number, shard_count) for number in range(shard_count)]
            directory = SqliteDirectory(tmp_path)
            stack.callback(directory.close)
            defaults = {"port": 0, "metrics_port": -1, "data_folder": tmp_path, "drain_wait_seconds": 0}
            searched = await open_ports(shards, stack)
            runner = build_server(
                GatewaySettings(**(defaults | settings)),
                directory,
                embedder,
                shards,
                searched,
            )
            await runner.start()
            stack.push_async_callback(runner.stop)
            channel = open_channel(f"127.0.0.1:{runner.port}")
            stack.push_async_callback(channel.close)
            return Gateway(
                embedder,
                shards,
                directory,
                runner,
                search_pb2_grpc.SearchServiceStub(channel),
                catalog_pb2_grpc.CatalogServiceStub(channel),
                collection_pb2_grpc.CollectionServiceStub(channel),
                channel,
            )

        yield start


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    """A gateway over three fake shards."""
    return await start_gateway()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[SqliteDirectory]:
    """An empty record of collections."""
    opened = SqliteDirectory(tmp_path / "directory")
    yield opened
    opened.close()


@pytest.fixture
def fan_out() -> Callable[..., Shards]:
    """Makes the fan-out over fake shards; keyword arguments are its own."""

    def make(shards: list[FakeShard], **options: object) -> Shards:
        return Shards(shards, "installation", 1, GatewayMetrics(Metrics()), **options)

    return make


@pytest.fixture
async def search_over() -> AsyncIterator[Callable[..., Awaitable[Searcher]]]:
    """Makes what searches fake shards; a keyword argument is the metrics."""
    async with AsyncExitStack() as stack:

        async def make(shards: list[FakeShard], metrics: GatewayMetrics | None = None) -> Searcher:
            searched = await open_ports(shards, stack)
            searcher = Searcher(searched, "installation", 1, metrics or GatewayMetrics(Metrics()), 1 << 24)
            stack.push_async_callback(searcher.close)
            return searcher

        yield make


@pytest.fixture
def make_shards() -> Callable[[int], list[FakeShard]]:
    """Makes fake shards."""
    return lambda count: [FakeShard(number, count) for number in range(count)]


@pytest.fixture
def embedder() -> FakeEmbedder:
    """A fake embedder."""
    return FakeEmbedder()
