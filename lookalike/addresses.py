"""Where the services listen by default, and what an address is."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple, Self

from lookalike.errors import shown

GATEWAY_PORT = 7700
EMBEDDER_PORT = 7701
FIRST_HASHER_PORT = 7710
"""Of shard 0; shard n listens n above it."""
SEARCH_PORT_OFFSET = 100
"""From a hasher's gRPC port to the one that answers searches."""
METRICS_PORT_OFFSET = 2000
"""From a service's gRPC port to that of its ``/metrics``."""

DEFAULT_TRITON = "127.0.0.1:8001"
"""Triton's own default for gRPC."""
DEFAULT_GATEWAY = f"127.0.0.1:{GATEWAY_PORT}"

_URLS = ("http://", "https://", "grpc://", "grpcs://")


def check_address(text: str) -> str:
    """Returns an address, ``host:port``; an IPv6 host gets its brackets if it has none.

    Raises:
        ValueError: It is not a valid address.
    """
    host, _, port = text.rpartition(":")
    if (
        not host
        or host.lower().startswith(_URLS)
        or not (port.isascii() and port.isdecimal())
        or not 0 < int(port) < 65536
        or (":" in host and not _is_ipv6(host) and not _is_target(host))
    ):
        raise ValueError(f"{shown(text)} must be host:port")
    return join_address(host, int(port)) if _is_ipv6(host) else text


class HasherAddress(NamedTuple):
    """Where a hasher listens, ``host:port`` each."""

    calls: str
    searches: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``host:port`` or ``host:port/search_port``; by default the search port is 100 above the port.

        Raises:
            ValueError: It is neither.
        """
        given, slash, search_port = text.rpartition("/") if "/" in text.rpartition(":")[2] else (text, "", "")
        try:
            calls = check_address(given)
            host, _, port = calls.rpartition(":")
            searches = check_address(f"{host}:{search_port if slash else int(port) + SEARCH_PORT_OFFSET}")
        except ValueError:
            raise ValueError(f"{shown(text)} must be host:port or host:port/search_port") from None
        return cls(calls, searches)


def join_address(host: str, port: int) -> str:
    """Returns ``host:port``, with the brackets that an IPv6 address needs."""
    return f"[{bare_host(host)}]:{port}" if _is_ipv6(host) else f"{host}:{port}"


def bare_host(host: str) -> str:
    """Returns a host without the brackets of an IPv6 address."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(bare_host(host)).version == 6
    except ValueError:
        return False


def _is_target(host: str) -> bool:
    """Whether it names one of gRPC's resolvers, as in ``dns:///hasher-0.hashers``."""
    return host.split(":", 1)[0] in ("dns", "ipv4", "ipv6")
