"""Calls that are cancelled while somebody waits for them."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from lookalike.wire.awaiting import answer_of

METHOD = "/test.Service/Answer"
MOST_BYTES_A_CALL = 300
"""A call that is awaited as it is leaks 900."""


class Service(grpc.GenericRpcHandler):
    """Answers what it is asked, or nothing, and sees which calls are cancelled."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.asked = asyncio.Event()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def answer(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            self.asked.set()
            if request == b"wrong":
                await context.abort(grpc.StatusCode.NOT_FOUND, "not here")
            if request != b"wait":
                return request
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
async def served() -> AsyncIterator[tuple[Service, grpc.aio.Channel]]:
    service, server = Service(), grpc.aio.server()
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield service, channel
    await server.stop(None)


async def test_answers_and_failures_are_those_of_the_call(
    served: tuple[Service, grpc.aio.Channel],
) -> None:
    call = served[1].unary_unary(METHOD)
    assert await answer_of(call(b"question")) == b"question"
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await answer_of(call(b"wrong"))
    assert (failure.value.code(), failure.value.details()) == (grpc.StatusCode.NOT_FOUND, "not here")


async def test_what_is_no_call_is_awaited_as_it_is() -> None:
    async def answer() -> int:
        return 7

    assert await answer_of(answer()) == 7


async def test_a_call_is_cancelled_with_its_caller(served: tuple[Service, grpc.aio.Channel]) -> None:
    service, channel = served
    call = channel.unary_unary(METHOD)(b"wait")
    waiting = asyncio.create_task(answer_of(call))
    await service.asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(service.cancelled.wait(), 20)
    assert await call.code() is grpc.StatusCode.CANCELLED


async def test_cancelled_calls_leak_nothing() -> None:
    # A server in the same process has leaks of its own.
    server = await asyncio.to_thread(
        subprocess.Popen, [sys.executable, __file__], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout
        port = int(await asyncio.to_thread(server.stdout.readline))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(METHOD)
            for _ in range(100):
                await _cancelled(call)
            before = _anonymous_bytes()
            for _ in range(200):
                await _cancelled(call)
            grown = _anonymous_bytes() - before
    finally:
        server.kill()
        server.wait()
        if server.stdout:
            server.stdout.close()
    assert grown / 2000 < MOST_BYTES_A_CALL


async def _cancelled(call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> None:
    """Makes ten calls, and cancels those who wait for them."""
    waiting = [asyncio.create_task(answer_of(call(b"wait"))) for _ in range(10)]
    await asyncio.sleep(0.002)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def _anonymous_bytes() -> int:
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


async def _serve() -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Service(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
