"""HTTP proxies: which channels use none, and which environment variable names the one that a channel uses."""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from typing import Final

# gRPC takes the first that has a value: https://github.com/grpc/grpc/blob/master/doc/environment_variables.md
_PROXIES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTIONS: Final = ("no_grpc_proxy", "no_proxy")

DIRECT: Final[tuple[tuple[str, int | str], ...]] = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.address_http_proxy_enabled_addresses", ""),
)
"""Options of a channel that uses no proxy, whatever the environment says."""


def is_loopback(target: str) -> bool:
    """Whether an address, ``host:port``, is one of this machine's own that no proxy can reach."""
    host = _host(target)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    return False


def proxy_variable(target: str) -> str:
    """Returns the environment variable whose proxy gRPC connects to an address through; empty for none."""
    name, value = _first(_PROXIES)
    if not value.startswith("http://") or is_loopback(target) or _is_excepted(_host(target)):
        return ""
    return name


def _is_excepted(host: str) -> bool:
    _, exceptions = _first(_EXCEPTIONS)
    for entry in filter(None, (entry.strip().lower() for entry in exceptions.split(","))):
        if host.endswith(entry):
            return True
        with suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
    return False


def _host(target: str) -> str:
    return target.rpartition(":")[0].rpartition("/")[2].strip("[]").lower()


def _first(names: tuple[str, ...]) -> tuple[str, str]:
    """Returns the first of the variables that has a value, with its value."""
    return next(((name, value) for name in names if (value := os.environ.get(name))), ("", ""))
