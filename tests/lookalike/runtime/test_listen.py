"""What a host means: all of its addresses, and none that other machines reach unless that is wanted."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from collections.abc import Iterator

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lookalike.errors import InvalidInputError, Reason
from lookalike.runtime.listen import is_loopback
from lookalike.runtime.metrics import Metrics, MetricsServer
from lookalike.runtime.server import ServerRunner
from lookalike.runtime.settings import ServerSettings
from lookalike.wire.channel import open_channel
from tests.lookalike.ipv6 import needs_ipv6


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """``localhost`` is ::1 and 127.0.0.1, as most machines have it."""
    resolve = socket.getaddrinfo

    def both(host: str, port: int, *arguments: object, **options: object) -> object:
        if host != "localhost":
            return resolve(host, port, *arguments, **options)  # type: ignore[arg-type]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that is taken on 127.0.0.1 and free on ::1."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


async def assert_serves(runner: ServerRunner, host: str) -> None:
    async with open_channel(f"{host}:{runner.port}") as channel:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    url = f"http://{host}:{runner.metrics_port}/metrics"
    assert "python_info" in await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
async def test_ipv6_is_served_with_and_without_brackets(host: str) -> None:
    runner = ServerRunner("probe", [], ServerSettings(host=host, drain_wait_seconds=0), Metrics())
    await runner.start()
    await assert_serves(runner, "[::1]")
    await runner.stop()


@needs_ipv6
@pytest.mark.usefixtures("two_addresses")
async def test_every_address_of_a_name_is_served() -> None:
    runner = ServerRunner("probe", [], ServerSettings(host="localhost", drain_wait_seconds=0), Metrics())
    await runner.start()
    await assert_serves(runner, "[::1]")
    await assert_serves(runner, "127.0.0.1")
    await runner.stop()


@needs_ipv6
@pytest.mark.usefixtures("two_addresses")
async def test_half_bound_is_refused(taken_port: int) -> None:
    wanted = f"cannot listen on 127.0.0.1:{taken_port}: the port is taken"
    runner = ServerRunner("probe", [], ServerSettings(host="localhost", port=taken_port), Metrics())
    with pytest.raises(InvalidInputError, match=wanted) as caught:
        await runner.start()
    assert caught.value.reason == Reason.CONFIG_INVALID
    with pytest.raises(InvalidInputError, match=wanted):
        MetricsServer(Metrics(), "localhost", taken_port)


@pytest.mark.usefixtures("two_addresses")
async def test_an_address_that_the_machine_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket.bind

    def bind(self: socket.socket, address: tuple[object, ...]) -> None:
        real(self, ("2001:db8::1", 0) if address[0] == "::1" else address)

    monkeypatch.setattr(socket.socket, "bind", bind)
    runner = ServerRunner("probe", [], ServerSettings(host="localhost", drain_wait_seconds=0), Metrics())
    await runner.start()
    await assert_serves(runner, "127.0.0.1")
    await runner.stop()


@pytest.mark.parametrize(
    ("host", "cause"),
    [
        ("nowhere.invalid", "the host is unknown"),
        ("a..b", "the host is unknown"),
        ("", "the host is unknown"),
    ],
)
async def test_an_impossible_host_is_one_clear_error(host: str, cause: str) -> None:
    with pytest.raises(InvalidInputError, match=cause):
        await ServerRunner("probe", [], ServerSettings(host=host), Metrics()).start()


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0"}, {"host": "::"}, {"metrics_host": "0.0.0.0"}])
async def test_other_machines_are_served_only_when_that_is_wanted(settings: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError, match="--insecure") as caught:
        await ServerRunner("probe", [], ServerSettings(**settings), Metrics()).start()
    assert caught.value.reason == Reason.CONFIG_INVALID


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_what_only_this_machine_reaches(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


async def test_insecure_allows_any_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests must not bind 0.0.0.0, so loopback stands for it."""
    monkeypatch.setattr("lookalike.runtime.listen.is_loopback", lambda address: False)
    settings = ServerSettings(insecure=True, drain_wait_seconds=0)
    runner = ServerRunner("probe", [], settings, Metrics())
    await runner.start()
    await assert_serves(runner, "127.0.0.1")
    await runner.stop()
