"""Settings, readiness, metrics, and the real clients against real peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.clients import GrpcEmbedder, GrpcShard
from gateway.config import GatewaySettings
from gateway.peers import UnreachableError
from lookalike.errors import (
    DeadlineError,
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    OverloadedError,
    Reason,
    UnavailableError,
)
from lookalike.runtime.settings import load_settings
from lookalike.v1 import (
    catalog_pb2,
    collection_pb2,
    embedder_pb2,
    embedder_pb2_grpc,
    hasher_pb2,
    hasher_pb2_grpc,
    search_pb2,
    types_pb2,
)
from lookalike.wire.channel import open_channel
from lookalike.wire.status import DETAILS_KEY, code_of, status_of

if TYPE_CHECKING:
    from conftest import Gateway, StartGateway

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize(
    "flags",
    [
        {"hashers": ""},
        {"hashers": "a:1,a:1"},
        {"hashers": "a:1,b"},
        {"hashers": "a:70000"},
        {"embedder": "nowhere"},
        {"max_searches": 0},
        {"ready_coverage": 1.1},
        {"data_folder": None},
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, flags: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(flags))):
        load_settings(GatewaySettings, **({"data_folder": tmp_path} | flags))


def test_hashers_come_from_flag_variable_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lookalike.toml"
    file.write_text(f'[gateway]\ndata_folder = "{tmp_path}"\nhashers = ["f:1", "f:2"]\n')
    assert load_settings(GatewaySettings, file).hashers == ("f:1", "f:2")
    monkeypatch.setenv("LOOKALIKE_GATEWAY_HASHERS", "e:1,e:2,e:3")
    assert load_settings(GatewaySettings, file).hashers == ("e:1", "e:2", "e:3")
    assert load_settings(GatewaySettings, file, hashers="x:1, y:2").hashers == ("x:1", "y:2")


async def _until_status(gateway: Gateway, service: str, wanted: int) -> None:
    stub = health_pb2_grpc.HealthStub(gateway.channel)
    request = health_pb2.HealthCheckRequest(service=f"lookalike.v1.{service}Service")
    async with asyncio.timeout(20):
        async for reply in stub.Watch(request):
            if reply.status == wanted:
                return


async def _until(gateway: Gateway, metric: str, wanted: float, **labels: str) -> None:
    async with asyncio.timeout(20):
        while gateway.sample(metric, **labels) != wanted:
            await asyncio.sleep(0.05)


async def _statuses(gateway: Gateway) -> dict[str, int]:
    stub = health_pb2_grpc.HealthStub(gateway.channel)
    return {
        name: (await stub.Check(health_pb2.HealthCheckRequest(service=f"lookalike.v1.{name}Service"))).status
        for name in ("Search", "Catalog", "Collection")
    }


async def test_health_is_per_service(start_gateway: StartGateway) -> None:
    """Searches and writes by vector work without the embedder, so they stay SERVING."""
    gateway = await start_gateway(2, ready_coverage=1.0)
    await gateway.create()
    gateway.embedder.failure = UnavailableError("down")
    await _until(gateway, "dependency_up", 0, dependency="embedder")
    gateway.on_shards()[1].failure = "the disk of the shard is full"
    await _until(gateway, "shard_generations", 1, shard="1", problem="failed")
    assert await _statuses(gateway) == {"Search": SERVING, "Catalog": SERVING, "Collection": SERVING}
    gateway.directory._failure = "restart the gateway"
    await _until_status(gateway, "Collection", NOT_SERVING)
    assert await _statuses(gateway) == {"Search": SERVING, "Catalog": SERVING, "Collection": NOT_SERVING}
    gateway.directory._failure, gateway.shards[1].failure = "", UnavailableError("down")
    await _until_status(gateway, "Search", NOT_SERVING)
    await _until_status(gateway, "Collection", SERVING)
    assert await _statuses(gateway) == {"Search": NOT_SERVING, "Catalog": NOT_SERVING, "Collection": SERVING}


async def test_losing_one_shard_does_not_take_the_gateway_out(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(2)
    await _until_status(gateway, "Search", SERVING)
    gateway.shards[0].failure = UnavailableError("down")
    await _until(gateway, "dependency_up", 0, dependency="shard0")
    assert await _statuses(gateway) == {"Search": SERVING, "Catalog": SERVING, "Collection": SERVING}
    gateway.shards[1].hangs = True
    await _until_status(gateway, "Search", NOT_SERVING)
    gateway.shards[1].hangs = False
    await _until_status(gateway, "Search", SERVING)
    gateway.shards[1].number = 0
    await _until_status(gateway, "Search", NOT_SERVING)


async def test_a_shard_whose_search_port_does_not_answer_is_lost_for_searches(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(2, ready_coverage=1.0)
    await _until_status(gateway, "Search", SERVING)
    port = gateway.shards[1].search_port
    port.hangs = True
    await _until_status(gateway, "Search", NOT_SERVING)
    await _until(gateway, "dependency_up", 0, dependency="shard1")
    assert (await _statuses(gateway))["Catalog"] == SERVING
    port.hangs = False
    await _until_status(gateway, "Search", SERVING)
    await port.stop()
    await _until_status(gateway, "Search", NOT_SERVING)
    assert (await _statuses(gateway))["Catalog"] == SERVING
    assert gateway.sample("dependency_up", dependency="shard0") == 1


async def test_a_shard_without_its_data_is_a_lost_one_until_it_is_repaired(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(2, ready_coverage=1.0)
    await gateway.create()
    await _until_status(gateway, "Search", SERVING)
    gateway.shards[1].generations.clear()
    await _until_status(gateway, "Search", NOT_SERVING)
    assert gateway.sample("dependency_up", dependency="shard1") == 0
    assert gateway.sample("shard_generations", shard="1", problem="missing") == 1
    request = collection_pb2.CreateCollectionRequest(name="shop", repair=True)
    await gateway.collections.CreateCollection(request)
    await _until_status(gateway, "Search", SERVING)
    assert gateway.sample("shard_generations", shard="1", problem="missing") == 0


async def test_data_of_no_collection_shows_and_is_left_alone(gateway: Gateway) -> None:
    await gateway.create()
    orphan = "gone.0123456789abcdef0123"
    gateway.shards[2].generations[orphan] = gateway.on_shards()[2]
    await _until(gateway, "shard_generations", 1, shard="2", problem="orphaned")
    await _until(gateway, "shard_generations", 0, shard="1", problem="orphaned")
    assert orphan in gateway.shards[2].generations
    assert await _statuses(gateway) == {"Search": SERVING, "Catalog": SERVING, "Collection": SERVING}


async def test_an_unfinished_collection_can_be_found(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(2)
    gateway.shards[1].failure = UnavailableError("down")
    with pytest.raises(grpc.aio.AioRpcError):
        await gateway.create()
    assert gateway.sample("collections", state="creating") == 1
    with structlog.testing.capture_logs() as logs:
        await start_gateway(2)
    assert [entry for entry in logs if entry["event"] == "collection_unfinished"] == [
        {
            "event": "collection_unfinished",
            "collection": "shop",
            "state": "creating",
            "advice": "repeat CreateCollection",
            "log_level": "warning",
        }
    ]


async def test_a_hung_shard_is_probed_and_taken_back(gateway: Gateway) -> None:
    await gateway.create()
    gateway.shards[0].hangs = True
    await _until(gateway, "shard_silent", 1, shard="0")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.catalog.CountItems(catalog_pb2.CountItemsRequest(collection="shop"), timeout=50)
    assert "shard 0: not answering" in caught.value.details()
    gateway.shards[0].hangs = False
    await _until(gateway, "shard_silent", 0, shard="0")
    await gateway.catalog.CountItems(catalog_pb2.CountItemsRequest(collection="shop"))


async def test_metrics_tell_stages_coverage_and_failures(gateway: Gateway) -> None:
    await gateway.fill(30, products=30)
    photo = search_pb2.Query(image=types_pb2.Image(content=b"photo"))
    request = search_pb2.SearchRequest(collection="shop", query=photo, k=5, min_coverage=0.5)
    await gateway.search.Search(request)
    gateway.shards[1].failure = UnavailableError("down")
    await gateway.search.Search(request)
    for stage in ("admit", "embed", "fanout", "scan", "merge"):
        assert gateway.sample("stage_seconds_count", stage=stage) == 2
    assert gateway.sample("shard_failures_total", shard="1", cause="failed") == 1
    assert gateway.sample("coverage_ratio_sum") == pytest.approx(1 + 2 / 3)
    on_others = sum(len(gateway.on_shards()[n].rows) for n in (0, 2))
    assert gateway.sample("codes_scanned_total") == 30 + on_others
    assert gateway.sample("items_written_total", operation="upsert") == 30


class FailingPeer(embedder_pb2_grpc.EmbedderServiceServicer, hasher_pb2_grpc.HasherServiceServicer):
    """Ends each call with the failure that it was given."""

    failure: Exception | None = None

    async def Embed(self, request: object, context: grpc.aio.ServicerContext) -> None:  # noqa: N802
        await self._fail(context)

    async def Get(  # noqa: N802
        self, request: object, context: grpc.aio.ServicerContext
    ) -> hasher_pb2.GetResponse:
        await self._fail(context)
        return hasher_pb2.GetResponse(rows=[hasher_pb2.Row(vector_f32_le=bytes(17 * 1024 * 1024))])

    async def _fail(self, context: grpc.aio.ServicerContext) -> None:
        if isinstance(self.failure, LookalikeError):
            details = ((DETAILS_KEY, status_of(self.failure).SerializeToString()),)
            await context.abort(code_of(self.failure), self.failure.message, details)
        if self.failure:
            raise self.failure


@pytest.fixture
async def peer() -> AsyncIterator[tuple[FailingPeer, str]]:
    """A peer that serves, and its address."""
    server, failing = grpc.aio.server(options=[("grpc.max_send_message_length", -1)]), FailingPeer()
    embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(failing, server)
    hasher_pb2_grpc.add_HasherServiceServicer_to_server(failing, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield failing, f"127.0.0.1:{port}"
    await server.stop(None)


GET = hasher_pb2.GetRequest()


@pytest.mark.parametrize(
    ("failure", "kind", "reason", "words"),
    [
        (OverloadedError("64 photos wait"), OverloadedError, Reason.OVERLOADED, "64 photos wait"),
        (
            UnavailableError("loading", reason=Reason.EMBEDDER_UNAVAILABLE),
            UnavailableError,
            Reason.EMBEDDER_UNAVAILABLE,
            "loading",
        ),
        (
            UnavailableError("no model", reason=Reason.MODEL_SERVER_UNAVAILABLE),
            UnavailableError,
            Reason.MODEL_SERVER_UNAVAILABLE,
            "no model",
        ),
        (
            FailedPreconditionError("another model"),
            FailedPreconditionError,
            Reason.MODEL_VERSION_MISMATCH,
            "another model",
        ),
        (LookalikeError("line 7"), LookalikeError, Reason.INTERNAL, "the embedder failed"),
        (ValueError("line 7"), LookalikeError, Reason.INTERNAL, "the embedder failed"),
    ],
)
async def test_what_a_peer_says_is_kept_but_for_its_defects(
    peer: tuple[FailingPeer, str],
    failure: Exception,
    kind: type[LookalikeError],
    reason: Reason,
    words: str,
) -> None:
    failing, target = peer
    failing.failure = failure
    async with open_channel(target) as channel:
        with pytest.raises(LookalikeError) as caught:
            await GrpcEmbedder(channel).embed(embedder_pb2.EmbedRequest(), timeout_seconds=5)
    assert (type(caught.value), caught.value.reason, caught.value.message) == (kind, reason, words)


@pytest.mark.parametrize(
    ("request_bytes", "limit", "words"),
    [(1, 16 * 1024 * 1024, "the answer does not fit"), (20_000, 10_000, "the request does not fit")],
)
async def test_a_message_that_is_too_large_is_the_callers_to_shrink(
    peer: tuple[FailingPeer, str], request_bytes: int, limit: int, words: str
) -> None:
    request = hasher_pb2.GetRequest(item_ids=["x" * request_bytes])
    async with open_channel(peer[1], max_message_bytes=limit) as channel:
        with pytest.raises(InvalidInputError, match=f"{words}.*ask for less") as large:
            await GrpcShard(channel).get_rows(request, timeout_seconds=5)
    assert large.value.reason is Reason.BATCH_TOO_LARGE


async def test_a_servers_own_limit_is_the_callers_to_keep(peer: tuple[FailingPeer, str]) -> None:
    """The server cannot send its answer, or refuses the request: gRPC calls both RESOURCE_EXHAUSTED."""
    for options, words in (
        ([("grpc.max_send_message_length", 10_000)], "the answer does not fit"),
        ([("grpc.max_receive_message_length", 10_000)], "the request does not fit"),
    ):
        server = grpc.aio.server(options=options)
        hasher_pb2_grpc.add_HasherServiceServicer_to_server(FailingPeer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        request = hasher_pb2.GetRequest(item_ids=["x" * 20_000])
        async with open_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(InvalidInputError, match=words):
                await GrpcShard(channel).get_rows(request, timeout_seconds=5)
        await server.stop(None)


async def test_what_a_shard_says_to_the_caller_is_kept(peer: tuple[FailingPeer, str]) -> None:
    failing, target = peer
    async with open_channel(target) as channel:
        shard = GrpcShard(channel)
        for reason in (Reason.LOG_POSITION_NOT_REACHED, Reason.DISK_FULL, Reason.SHARD_UNAVAILABLE):
            failing.failure = UnavailableError("a sentence", reason=reason)
            with pytest.raises(UnavailableError, match="a sentence") as caught:
                await shard.get_rows(GET, timeout_seconds=5)
            assert caught.value.reason is reason
            assert not isinstance(caught.value, UnreachableError)
        failing.failure = None
        with pytest.raises(DeadlineError, match="the shard did not answer in time"):
            await shard.get_rows(GET, timeout_seconds=0.0)


async def test_nobody_there_is_unavailable(unused_tcp_port: int) -> None:
    async with open_channel(f"127.0.0.1:{unused_tcp_port}") as channel:
        with pytest.raises(UnreachableError, match="the shard cannot be reached") as caught:
            await GrpcShard(channel).get_rows(GET, timeout_seconds=5)
        assert caught.value.reason is Reason.SHARD_UNAVAILABLE
