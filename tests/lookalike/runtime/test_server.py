"""A real server on a free port, called through a real channel."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from lookalike.errors import InvalidInputError, OverloadedError, Reason
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.server import ServerRunner
from lookalike.runtime.settings import ServerSettings
from lookalike.wire.status import error_from_rpc

if TYPE_CHECKING:
    from conftest import Running, Serve

SERVICE = "lookalike.v1.SearchService"


@pytest.fixture
async def running(serve: Serve, tmp_path: Path) -> Running:
    return await serve(ready_file=tmp_path / "ready.json", max_concurrent_rpcs=1)


async def test_ready_file_names_the_bound_ports(running: Running, tmp_path: Path) -> None:
    ready = json.loads((tmp_path / "ready.json").read_text())
    assert ready["port"] == running.runner.port > 0
    assert ready["metrics_port"] == running.runner.metrics_port > 0


async def test_domain_error_reaches_the_caller_with_its_details(running: Running) -> None:
    running.probe.behaviour = "refuse"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.call()
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    error = error_from_rpc(caught.value)
    assert isinstance(error, InvalidInputError)
    assert (error.reason, error.field) == (Reason.FIELD_OUT_OF_RANGE, "k")


async def test_defect_shows_the_request_id_and_nothing_else(running: Running) -> None:
    running.probe.behaviour = "break"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.call(metadata=(("x-request-id", "abc-123"),))
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in str(caught.value.details())
    assert "abc-123" in str(caught.value.details())


async def test_a_message_that_cannot_be_decoded_is_the_callers_mistake(running: Running) -> None:
    for method in (
        running.channel.unary_unary(f"/{SERVICE}/GetServerInfo"),
        running.channel.unary_stream("/grpc.health.v1.Health/Watch"),
    ):
        call = method(b"\xff\xff")
        assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "cannot be decoded" in await call.details()


async def test_a_stream_ends_at_a_message_that_cannot_be_decoded(running: Running) -> None:
    call = running.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")()
    await call.write(b"\xff\xff")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_calls_and_codes_are_counted_and_timed(running: Running) -> None:
    await running.call()
    running.probe.behaviour = "refuse"
    with pytest.raises(grpc.aio.AioRpcError):
        await running.call()
    assert await running.handled() == {"OK": 1.0, "INVALID_ARGUMENT": 1.0}
    assert (await running.metrics())["grpc_server_handling_seconds"].type == "histogram"


async def test_too_many_calls_are_refused_and_health_is_not(running: Running) -> None:
    running.probe.behaviour = "wait"
    first = asyncio.create_task(running.call())
    await running.probe.entered.wait()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.call()
    assert isinstance(error_from_rpc(caught.value), OverloadedError)
    health = health_pb2_grpc.HealthStub(running.channel)
    await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
    running.probe.release.set()
    assert (await first).version == "1"


async def test_health_watch_follows_readiness(running: Running) -> None:
    health = health_pb2_grpc.HealthStub(running.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    serving = health_pb2.HealthCheckResponse.SERVING
    not_serving = health_pb2.HealthCheckResponse.NOT_SERVING
    assert (await watch.read()).status == serving
    running.probe.reason = "the shard is gone"
    assert (await watch.read()).status == not_serving
    overall = await health.Check(health_pb2.HealthCheckRequest())
    assert overall.status in (serving, not_serving)
    running.probe.reason = ""
    assert (await watch.read()).status == serving
    watch.cancel()


async def test_liveness_depends_on_no_service(running: Running) -> None:
    health = health_pb2_grpc.HealthStub(running.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    await watch.read()
    running.probe.reason = "shards are away"
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    reply = await health.Check(health_pb2.HealthCheckRequest(service="liveness"))
    assert reply.status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


async def _reflected(
    running: Running, version: str, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    reflect = running.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    (reply,) = [reply async for reply in reflect(iter([request]))]
    return reply


@pytest.mark.parametrize("version", ["v1alpha", "v1"])
async def test_reflection_lists_the_service(running: Running, version: str) -> None:
    reply = await _reflected(running, version, reflection_pb2.ServerReflectionRequest(list_services=""))
    names = {service.name for service in reply.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= names


@pytest.mark.parametrize("version", ["v1alpha", "v1"])
@pytest.mark.parametrize("symbol", [SERVICE, f"{SERVICE}.Search", "lookalike.v1.SearchRequest.k"])
async def test_reflection_finds_the_file_of_a_symbol(running: Running, version: str, symbol: str) -> None:
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
    reply = await _reflected(running, version, request)
    files = map(FileDescriptorProto.FromString, reply.file_descriptor_response.file_descriptor_proto)
    assert "lookalike/v1/search.proto" in [file.name for file in files]


@pytest.mark.parametrize("symbol", ["", SERVICE + "s", f"{SERVICE}.Nothing", "lookalike.v1.SearchRequest.x"])
async def test_reflection_knows_no_other_symbols(running: Running, symbol: str) -> None:
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
    reply = await _reflected(running, "v1", request)
    assert reply.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_stop_says_not_serving_first_and_lets_running_calls_end(serve: Serve) -> None:
    closed: list[str] = []

    async def close() -> None:
        closed.append("store")

    running = await serve({"close": [close]}, drain_wait_seconds=0.5, stop_grace_seconds=60)
    running.probe.behaviour = "wait"
    call = asyncio.create_task(running.call())
    await running.probe.entered.wait()
    stop = asyncio.create_task(running.runner.stop())
    await running.runner.draining.wait()
    health = health_pb2_grpc.HealthStub(running.channel)
    reply = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
    assert reply.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert not closed
    running.probe.release.set()
    assert (await call).version == "1"
    await stop
    assert closed == ["store"]


async def test_watchers_learn_it_and_do_not_hold_up_the_stop(serve: Serve) -> None:
    running = await serve(drain_wait_seconds=0.2, stop_grace_seconds=3600)
    watch = health_pb2_grpc.HealthStub(running.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    stop = asyncio.create_task(running.runner.stop())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert await watch.read() is grpc.aio.EOF
    await asyncio.wait_for(stop, timeout=60)


async def test_taken_port_is_one_clear_error(running: Running) -> None:
    second = ServerRunner("second", [], ServerSettings(port=running.runner.port), Metrics())
    with pytest.raises(InvalidInputError, match=str(running.runner.port)):
        await second.start()


async def test_a_burst_of_calls_is_answered_or_refused_and_never_cancelled(running: Running) -> None:
    async def outcome() -> grpc.StatusCode:
        try:
            await running.call(timeout=60)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    codes = await asyncio.gather(*(outcome() for _ in range(2_500)))
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
