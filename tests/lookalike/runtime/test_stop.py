"""A stop ends calls with an answer or a reason, whatever they are at."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from lookalike.errors import LookalikeError, Reason, UnavailableError
from lookalike.runtime import server
from lookalike.runtime.front import Front
from lookalike.runtime.metrics import Metrics
from lookalike.runtime.settings import ServerSettings
from lookalike.v1 import catalog_pb2, search_pb2, search_pb2_grpc
from lookalike.wire.status import error_from_rpc

if TYPE_CHECKING:
    from conftest import Running, Serve


async def outcome(running: Running) -> Reason | str:
    """What comes of a call: "OK", the reason, or the code of one without a reason."""
    try:
        await running.call(timeout=60)
    except grpc.aio.AioRpcError as error:
        return error_from_rpc(error).reason if error.trailing_metadata() else error.code().name
    return "OK"


async def test_waiting_and_untaken_calls_learn_that_the_server_stops(serve: Serve) -> None:
    running = await serve(drain_wait_seconds=0.1, stop_grace_seconds=60, max_concurrent_rpcs=1000)
    running.probe.behaviour = "busy"
    outcomes: Counter[Reason | str] = Counter()
    stopped = False

    async def caller() -> None:
        while not stopped:
            came = await outcome(running)
            outcomes[came] += 1
            if came == "UNAVAILABLE":  # nobody listens any more
                return

    callers = [asyncio.create_task(caller()) for _ in range(300)]
    await asyncio.sleep(0.5)
    await running.runner.stop()
    stopped = True
    await asyncio.gather(*callers)
    assert {"OK", "UNAVAILABLE"} <= outcomes.keys() <= {"OK", Reason.SHUTTING_DOWN, "UNAVAILABLE"}


async def test_calls_that_outlast_the_grace_time_learn_that_the_server_stops(serve: Serve) -> None:
    running = await serve(stop_grace_seconds=0.2)
    running.probe.behaviour = "wait"
    call, stream = asyncio.create_task(running.call()), running.stream()
    await running.probe.entered.wait()
    await stream.write(catalog_pb2.IngestItemsRequest())
    await stream.read()
    sending = running.channel.stream_unary("/lookalike.v1.SearchService/GetServerInfo")()
    await sending.wait_for_connection()
    await running.runner.stop()
    for ended in (call, stream.read(), sending):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ended
        error = error_from_rpc(caught.value)
        assert (type(error), error.reason) == (UnavailableError, Reason.SHUTTING_DOWN)


async def test_calls_after_the_drain_wait_for_nothing(serve: Serve) -> None:
    running = await serve(drain_wait_seconds=0.3)
    stop = asyncio.create_task(running.runner.stop())
    await running.runner.draining.wait()
    assert await outcome(running) == "OK"
    await stop
    assert await outcome(running) == "UNAVAILABLE"


async def test_a_peer_that_hangs_does_not_keep_a_server_without_calls(serve: Serve) -> None:
    running = await serve(stop_grace_seconds=3600, keepalive_timeout_seconds=3600)
    assert await outcome(running) == "OK"
    preface, empty_settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    reader, writer = await asyncio.open_connection("127.0.0.1", running.runner.port)
    writer.write(preface + empty_settings)
    assert await reader.read(1), "the server waits for the peer to confirm its settings"
    async with asyncio.timeout(60):
        await running.runner.stop()
    writer.close()


async def test_the_first_failure_in_the_background_ends_all() -> None:
    ended: list[str] = []
    started = asyncio.Event()

    async def lasts() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("lasts")

    async def is_done() -> None:
        return

    async def fails() -> None:
        await started.wait()
        raise LookalikeError("the store is damaged")

    settings = ServerSettings(drain_wait_seconds=0)
    runner = server.ServerRunner("probe", [], settings, Metrics(), background=[is_done, lasts, fails])
    with pytest.raises(LookalikeError, match="the store is damaged"):
        await runner.run()
    assert ended == ["lasts"]


async def test_calls_wait_for_the_event_loop_until_their_deadline(serve: Serve) -> None:
    running = await serve()
    running.probe.behaviour = "block"
    assert await asyncio.gather(*(outcome(running) for _ in range(20))) == ["OK"] * 20


async def test_a_call_whose_deadline_passes_meanwhile_says_so(serve: Serve) -> None:
    running = await serve()
    running.probe.behaviour = "wait"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.call(timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(30):
        while await running.handled() != {"DEADLINE_EXCEEDED": 1}:
            await asyncio.sleep(0.01)


async def test_a_server_that_never_started_frees_its_port() -> None:
    first, second = (Front([], ServerSettings()) for _ in range(2))
    port = first.bind("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        second.bind("127.0.0.1", port)
    await first.stop(0)
    assert second.bind("127.0.0.1", port) == port


async def test_a_server_may_be_stopped_by_several_at_once(serve: Serve) -> None:
    running = await serve()
    running.probe.behaviour = "wait"
    front, call = running.runner._front, asyncio.create_task(outcome(running))
    await running.probe.entered.wait()
    first = asyncio.create_task(front.stop(60))
    second = asyncio.create_task(front.stop(60))
    await front.closing.wait()
    await asyncio.sleep(0)
    assert not any(stop.done() for stop in (first, second))
    running.probe.release.set()
    await asyncio.gather(first, second)
    assert await call == "OK"
    await front.stop(0)


@contextmanager
def caller(running: Running) -> Iterator[Callable[[float], Future[Any]]]:
    """Makes calls in a thread, so that they come while the event loop does something else."""
    with (
        grpc.insecure_channel(f"127.0.0.1:{running.runner.port}") as channel,
        ThreadPoolExecutor(1) as thread,
    ):
        call = search_pb2_grpc.SearchServiceStub(channel).GetServerInfo
        yield lambda timeout: thread.submit(call, search_pb2.GetServerInfoRequest(), timeout=timeout)


async def test_a_call_that_has_just_come_learns_that_the_server_stops(serve: Serve) -> None:
    running = await serve()
    running.probe.behaviour = "wait"
    front = running.runner._front
    with caller(running) as call:
        came = call(30)
        while not front.in_progress("call"):
            time.sleep(0.001)
        await front.stop(0)
        failed = await asyncio.to_thread(came.exception)
    assert isinstance(failed, grpc.RpcError)
    assert error_from_rpc(failed).reason is Reason.SHUTTING_DOWN
