"""The health probe of the containers, against a real server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from deploy.local.process import free_ports
from lookalike.runtime import probe

if TYPE_CHECKING:
    from conftest import Running, Serve

SERVICE = "lookalike.v1.SearchService"


@pytest.fixture
async def running(serve: Serve) -> Running:
    return await serve()


async def _probe(address: str, service: str = "") -> tuple[int, str]:
    return await asyncio.to_thread(probe.probe, address, service)


async def test_a_server_that_is_ready_gives_0(running: Running) -> None:
    address = f"127.0.0.1:{running.runner.port}"
    assert await _probe(address) == (0, f"{address} is SERVING")
    assert await _probe(address, SERVICE) == (0, f"{SERVICE} at {address} is SERVING")


async def test_a_server_that_is_not_ready_gives_1(running: Running) -> None:
    running.probe.reason = "the model is not loaded"
    address = f"127.0.0.1:{running.runner.port}"
    while (await _probe(address))[0] == 0:
        await asyncio.sleep(0.05)
    assert await _probe(address) == (1, f"{address} is NOT_SERVING")


async def test_a_service_that_the_server_lacks_gives_1(running: Running) -> None:
    address = f"127.0.0.1:{running.runner.port}"
    assert await _probe(address, "shop.Till") == (1, f"{address} has no service shop.Till")


def test_no_server_gives_3(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    assert probe.main([address]) == 3
    assert capsys.readouterr().err == f"{address} does not answer: UNAVAILABLE\n"


def test_wrong_arguments_give_2_and_say_what_is_wrong() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lookalike.runtime.probe", "localhost"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "must be host:port" in done.stderr
