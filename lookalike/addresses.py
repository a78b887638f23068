"""Where the services listen unless they are told otherwise, and what an address is."""

from __future__ import annotations

GATEWAY_PORT = 7700
EMBEDDER_PORT = 7701
FIRST_HASHER_PORT = 7710
"""Of shard 0; shard n listens n above it."""
METRICS_PORT_OFFSET = 2000
"""From a service's gRPC port to that of its ``/metrics``."""

DEFAULT_TRITON = "127.0.0.1:8001"
"""Triton's own default for gRPC."""
DEFAULT_GATEWAY = f"127.0.0.1:{GATEWAY_PORT}"

_URLS = ("http://", "https://", "grpc://", "grpcs://")


def check_address(text: str) -> str:
    """Returns an address, ``host:port``.

    Raises:
        ValueError: It is none.
    """
    host, _, port = text.rpartition(":")
    if not host or host.lower().startswith(_URLS) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f'"{text}" must be host:port')
    return text
