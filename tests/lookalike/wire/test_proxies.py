"""Which channels follow the environment's proxies."""

from __future__ import annotations

from typing import Any

import pytest

from lookalike.v1 import search_pb2, search_pb2_grpc
from lookalike.wire.channel import open_channel
from lookalike.wire.proxies import is_loopback, proxy_variable

DEAD = "http://127.0.0.1:9"
VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("127.0.0.1:7700", True),
        ("127.1.2.3:7700", True),
        ("localhost:7700", True),
        ("LocalHost:7700", True),
        ("shop.localhost:7700", True),
        ("[::1]:7700", True),
        ("0.0.0.0:7700", True),
        ("dns:///localhost:7700", True),
        ("10.0.0.1:7700", False),
        ("[2001:db8::1]:7700", False),
        ("gateway.example:7700", False),
        ("localhost.example:7700", False),
        ("", False),
    ],
)
def test_own_addresses_are_known(target: str, expected: bool) -> None:
    assert is_loopback(target) is expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ""),
        ({"http_proxy": DEAD}, "http_proxy"),
        ({"http_proxy": DEAD, "https_proxy": DEAD}, "https_proxy"),
        ({"http_proxy": DEAD, "https_proxy": DEAD, "grpc_proxy": DEAD}, "grpc_proxy"),
        ({"http_proxy": DEAD, "https_proxy": ""}, "http_proxy"),
        ({"http_proxy": "socks5://127.0.0.1:9"}, ""),
        ({"http_proxy": DEAD, "no_proxy": "other.example, gateway.example"}, ""),
        ({"http_proxy": DEAD, "no_proxy": ".Example"}, ""),
        ({"http_proxy": DEAD, "no_proxy": "10.0.0.0/8"}, "http_proxy"),
        ({"http_proxy": DEAD, "no_grpc_proxy": "other.example", "no_proxy": "gateway.example"}, "http_proxy"),
    ],
)
def test_the_variable_that_grpc_follows_is_known(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_variable("gateway.example:7700") == expected
    assert proxy_variable("127.0.0.1:7700") == ""


def test_networks_are_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", DEAD)
    monkeypatch.setenv("no_proxy", "10.0.0.0/8,fd00::/8")
    assert [proxy_variable(f"{host}:1") for host in ("10.1.2.3", "[fd00::1]")] == ["", ""]
    assert proxy_variable("11.1.2.3:1") == "http_proxy"


@pytest.mark.parametrize(
    "environment",
    [
        *({name: DEAD} for name in ("grpc_proxy", "https_proxy", "http_proxy")),
        {
            "GRPC_ADDRESS_HTTP_PROXY": "127.0.0.1:9",
            "GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES": "127.0.0.0/8",
        },
    ],
    ids=lambda environment: next(iter(environment)),
)
async def test_services_reach_each_other_whatever_the_proxies(
    environment: dict[str, str], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with open_channel(target) as channel:
        stub: Any = search_pb2_grpc.SearchServiceStub(channel)
        assert (await stub.GetServerInfo(search_pb2.GetServerInfoRequest(), timeout=10)).shards_total == 2
