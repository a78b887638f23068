"""Settings, readiness, metrics, and the real clients against real peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.clients import GrpcEmbedder, GrpcShard
from gateway.config import GatewaySettings
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


async def _until(gateway: Gateway, wanted: int) -> None:
    stub = health_pb2_grpc.HealthStub(gateway.channel)
    request = health_pb2.HealthCheckRequest(service="lookalike.v1.SearchService")
    async with asyncio.timeout(10):
        async for reply in stub.Watch(request):
            if reply.status == wanted:
                return


async def test_health_follows_shards_embedder_and_layout(gateway: Gateway) -> None:
    await _until(gateway, SERVING)
    gateway.shards[1].failure = UnavailableError("down")
    await _until(gateway, NOT_SERVING)
    gateway.shards[1].failure = None
    await _until(gateway, SERVING)
    gateway.embedder.failure = UnavailableError("down")
    await _until(gateway, NOT_SERVING)
    gateway.embedder.failure = None
    await _until(gateway, SERVING)
    gateway.shards[1].number = 0
    await _until(gateway, NOT_SERVING)


async def test_health_can_tolerate_lost_shards(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(3, ready_coverage=0.6)
    gateway.shards[0].failure = UnavailableError("down")
    gateway.shards[2].hangs = True
    await _until(gateway, NOT_SERVING)
    gateway.shards[2].hangs = False
    await _until(gateway, SERVING)


async def test_metrics_tell_stages_coverage_and_failures(gateway: Gateway) -> None:
    await gateway.fill(30, products=30)
    photo = search_pb2.Query(image=types_pb2.Image(content=b"photo"))
    request = search_pb2.SearchRequest(collection="shop", query=photo, k=5, min_coverage=0.5)
    await gateway.search.Search(request)
    gateway.shards[1].failure = UnavailableError("down")
    await gateway.search.Search(request)
    sample = gateway.runner._metrics.registry.get_sample_value
    for stage in ("admit", "embed", "fanout", "scan", "merge"):
        assert sample("lookalike_gateway_stage_seconds_count", {"stage": stage}) == 2
    assert sample("lookalike_gateway_shard_failures_total", {"shard": "1"}) == 1
    assert sample("lookalike_gateway_coverage_ratio_sum") == pytest.approx(1 + 2 / 3)
    on_others = sum(len(gateway.shards[n].generations["shop.1"].rows) for n in (0, 2))
    assert sample("lookalike_gateway_codes_scanned_total") == 30 + on_others
    assert sample("lookalike_gateway_items_written_total", {"operation": "upsert"}) == 30


class FailingPeer(embedder_pb2_grpc.EmbedderServiceServicer, hasher_pb2_grpc.HasherServiceServicer):
    """Ends each call as it is told to."""

    failure: Exception | None = None

    async def Embed(self, request: object, context: grpc.aio.ServicerContext) -> None:  # noqa: N802
        await self._fail(context)

    async def Search(  # noqa: N802
        self, request: object, context: grpc.aio.ServicerContext
    ) -> hasher_pb2.HasherServiceSearchResponse:
        await self._fail(context)
        hit = hasher_pb2.ShardHit(item=types_pb2.Item(title="x" * 17 * 1024 * 1024))
        return hasher_pb2.HasherServiceSearchResponse(results=[hasher_pb2.ShardHits(hits=[hit])])

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


SEARCH = hasher_pb2.HasherServiceSearchRequest()


@pytest.mark.parametrize(
    ("failure", "kind", "reason", "words"),
    [
        (OverloadedError("queue 7"), OverloadedError, Reason.OVERLOADED, "the embedder is overloaded"),
        (
            UnavailableError("at 10.0.0.7"),
            UnavailableError,
            Reason.EMBEDDER_UNAVAILABLE,
            "the embedder cannot be reached",
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
async def test_a_peers_failure_becomes_an_error_without_internals(
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


async def test_what_a_shard_says_to_the_caller_is_kept(peer: tuple[FailingPeer, str]) -> None:
    failing, target = peer
    async with open_channel(target) as channel:
        shard = GrpcShard(channel)
        failing.failure = UnavailableError("behind", reason=Reason.LOG_POSITION_NOT_REACHED)
        with pytest.raises(UnavailableError) as behind:
            await shard.search(SEARCH, timeout_seconds=5)
        assert behind.value.reason is Reason.LOG_POSITION_NOT_REACHED
        failing.failure = None
        with pytest.raises(InvalidInputError, match="ask for less") as large:
            await shard.search(SEARCH, timeout_seconds=5)
        assert large.value.reason is Reason.BATCH_TOO_LARGE
        with pytest.raises(DeadlineError, match="the shard did not answer in time"):
            await shard.search(SEARCH, timeout_seconds=0.0)


async def test_nobody_there_is_unavailable(unused_tcp_port: int) -> None:
    async with open_channel(f"127.0.0.1:{unused_tcp_port}") as channel:
        with pytest.raises(UnavailableError, match="the shard cannot be reached") as caught:
            await GrpcShard(channel).search(SEARCH, timeout_seconds=5)
        assert caught.value.reason is Reason.SHARD_UNAVAILABLE
