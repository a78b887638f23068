"""Both clients where the environment names proxies."""

from __future__ import annotations

import asyncio
import socket

import pytest

from lookalike.client import AsyncClient, Client
from lookalike.client.health import wait_until_serving
from lookalike.errors import DeadlineError, Reason, UnavailableError


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
async def test_a_proxy_is_not_used_on_this_machine(
    target: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for address in (target, target.replace("127.0.0.1", "localhost")):
        with Client(address) as client:
            assert await asyncio.to_thread(client.count) == 0
        async with AsyncClient(address) as other:
            assert await other.count() == 0
    await asyncio.to_thread(wait_until_serving, target, timeout_seconds=10.0)


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
async def test_a_proxy_that_leads_nowhere_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv(variable, "http://someone:secret@127.0.0.1:9")
    async with AsyncClient("192.0.2.1:7700", timeout_seconds=5.0) as client:
        with pytest.raises(UnavailableError, match=f"the environment variable {variable} names") as caught:
            await client.count()
    assert caught.value.reason == Reason.GATEWAY_UNREACHABLE
    assert "secret" not in caught.value.message


async def test_a_proxy_that_never_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        async with AsyncClient("192.0.2.1:7700", timeout_seconds=1.0) as client:
            with pytest.raises((DeadlineError, UnavailableError), match="variable http_proxy names"):
                await client.count()
