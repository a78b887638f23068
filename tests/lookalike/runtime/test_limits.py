"""Too much is refused with a reason, before it is read, and streams never take the place of searches."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from lookalike.errors import LookalikeError, OverloadedError, Reason, UnavailableError
from lookalike.limits import MAX_DEADLINE_SECONDS, MAX_MESSAGE_BYTES
from lookalike.runtime.settings import ServerSettings
from lookalike.v1 import catalog_pb2
from lookalike.wire.channel import FAR_PING_SECONDS
from lookalike.wire.status import error_from_rpc

if TYPE_CHECKING:
    from conftest import Running, Serve

SEARCH = "/lookalike.v1.SearchService/GetServerInfo"
MIB = 1 << 20


async def failure(call: Any) -> LookalikeError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_from_rpc(caught.value)


async def until(happened: Any) -> None:
    async with asyncio.timeout(30):
        while not await happened():
            await asyncio.sleep(0.01)


async def test_idle_streams_do_not_stop_searches(serve: Serve) -> None:
    running = await serve()
    streams = [running.stream() for _ in range(256)]
    opened = 0

    async def read(stream: Any) -> None:
        nonlocal opened
        # grpc.aio has errors of its own for who writes to a call that has ended.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await stream.write(catalog_pb2.IngestItemsRequest())
            await stream.read()
            opened += 1

    await asyncio.gather(*map(read, streams))
    assert opened == 32
    error = await failure(running.stream().read())
    assert (type(error), error.message) == (OverloadedError, "the server has too many streams open")
    for _ in range(3):
        assert (await running.call()).version == "1"
    for stream in streams:
        stream.cancel()
    await until(lambda: no_streams(running))
    await read(running.stream())
    assert opened == 33


async def no_streams(running: Running) -> bool:
    samples = (await running.metrics())["lookalike_calls_in_progress"].samples
    return {sample.labels["kind"]: sample.value for sample in samples}["stream"] == 0


async def test_a_silent_stream_is_ended_and_says_so(serve: Serve) -> None:
    running = await serve(stream_idle_seconds=0.3)
    stream = running.stream()
    for _ in range(5):  # longer than the limit in all, but never silent for so long
        await asyncio.sleep(0.1)
        await stream.write(catalog_pb2.IngestItemsRequest())
        assert await stream.read()
    error = await failure(stream.read())
    assert (type(error), error.reason) == (UnavailableError, Reason.STREAM_IDLE)


async def test_a_request_is_refused_before_it_is_read(serve: Serve) -> None:
    """This request never arrives, so whoever waits for it never refuses anything."""
    running = await serve(max_concurrent_rpcs=2)
    running.probe.behaviour = "wait"
    waiting = [asyncio.create_task(running.call()) for _ in range(2)]
    await until(lambda: in_progress(running, 2))
    late = running.channel.stream_unary(SEARCH)()
    assert isinstance(await failure(late), OverloadedError)
    for call in waiting:
        call.cancel()
    running.probe.behaviour = "answer"
    await until(lambda: answered(running))


async def test_requests_that_never_arrive_take_no_place(serve: Serve) -> None:
    running = await serve(max_concurrent_rpcs=2)
    for _ in range(5):
        await running.channel.stream_unary(SEARCH)().wait_for_connection()
    assert (await running.call()).version == "1"


async def answered(running: Running) -> bool:
    try:
        return bool(await running.call())
    except grpc.aio.AioRpcError:
        return False


async def test_requests_in_progress_are_bounded_by_their_size(serve: Serve) -> None:
    running = await serve(max_message_bytes=2 * MIB, max_request_bytes_in_flight=3 * MIB)
    running.probe.behaviour = "wait"
    call = running.channel.unary_unary(SEARCH, response_deserializer=lambda answer: answer)
    # An unknown field, as a later version's request would have.
    large = b"\xfa\x01" + varint(int(1.4 * MIB)) + bytes(int(1.4 * MIB))
    waiting = [asyncio.create_task(answer(call(large))) for _ in range(2)]
    await until(lambda: holds(running, 2 * len(large)))
    error = await failure(call(large))
    assert isinstance(error, OverloadedError)
    assert "too large together" in error.message
    small = asyncio.create_task(answer(call(b"")))
    await until(lambda: in_progress(running, 3))
    running.probe.release.set()
    await asyncio.gather(*waiting, small)
    assert await holds(running, 0)


async def answer(call: Any) -> bytes:
    return bytes(await call)


async def holds(running: Running, size: int) -> bool:
    (sample,) = (await running.metrics())["lookalike_requests_in_progress_bytes"].samples
    return bool(sample.value == size)


async def in_progress(running: Running, count: int) -> bool:
    return running.runner._front.in_progress("call") == count


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def test_requests_in_flight_hold_at_least_one_message() -> None:
    with pytest.raises(ValueError, match="max_request_bytes_in_flight must be at least max_message_bytes"):
        ServerSettings(max_message_bytes=4096, max_request_bytes_in_flight=2048)


def test_a_slow_link_has_time_to_answer_a_ping_behind_a_full_message() -> None:
    waits = ServerSettings().keepalive_timeout_seconds
    assert waits == FAR_PING_SECONDS >= MAX_DEADLINE_SECONDS
    assert FAR_PING_SECONDS * 300_000 >= MAX_MESSAGE_BYTES


async def test_a_peer_that_is_gone_without_a_word_loses_its_connection(serve: Serve) -> None:
    running = await serve(keepalive_seconds=0.5, keepalive_timeout_seconds=0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", running.runner.port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    # It never answers the server's settings or pings.
    async with asyncio.timeout(60):
        await reader.read(-1)
    writer.close()


async def test_connections_are_renewed_without_a_failed_call(serve: Serve) -> None:
    running = await serve(max_connection_age_seconds=0.3, max_connection_age_grace_seconds=30)
    running.probe.behaviour = "peer"
    peers = set()
    async with asyncio.timeout(60):
        while len(peers) < 3:
            peers.add((await running.call()).version)


async def test_a_limiter_counts_no_refusals_but_its_own(serve: Serve) -> None:
    running = await serve(max_concurrent_rpcs=1)
    running.probe.behaviour = "wait"
    limiter, first = running.runner.limiter(SEARCH), asyncio.create_task(running.call())
    await running.probe.entered.wait()
    assert isinstance(await failure(running.call()), OverloadedError)
    assert limiter.refused() == 0
    limiter.limit(1, "too many searches at once", 0.25)
    assert (await failure(running.call())).message == "too many searches at once"
    assert limiter.refused() == 1
    running.probe.release.set()
    await first


async def test_a_limiter_refuses_calls_of_its_method_before_they_are_read(serve: Serve) -> None:
    running = await serve()
    limiter = running.runner.limiter(SEARCH)
    limiter.limit(0, "too many searches at once", 0.25)
    call = running.call(metadata=(("x-request-id", "mine"), ("lookalike-retry", "1")))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ("x-request-id", "mine") in tuple(caught.value.trailing_metadata() or ())
    error = error_from_rpc(caught.value)
    assert isinstance(error, OverloadedError)
    assert (error.message, error.retry_after_seconds) == ("too many searches at once", 0.25)
    assert not running.probe.entered.is_set()
    assert await running.handled() == {"RESOURCE_EXHAUSTED": 1}
    assert limiter.refused() == 1
    limiter.lift()
    assert (await running.call()).version == "1"
