"""Client channels between the services: keepalive, message limit, and the request id that is passed on."""

from __future__ import annotations

import grpc
import structlog

from lookalike.limits import MAX_DEADLINE_SECONDS, MAX_MESSAGE_BYTES
from lookalike.wire.proxies import DIRECT

REQUEST_ID_KEY = "x-request-id"
"""Metadata key of the id that finds one call in the logs of all services."""
RETRY_KEY = "x-retry-attempt"
"""Metadata key of a call that failed before: how often."""

_BALANCED = (
    ("grpc.lb_policy_name", "round_robin"),
    # A pod that ends is replaced by one of another address, which is looked for at once, not after 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
)

# gRPC pings a peer that it receives much from, to measure the connection, and ends it if the answer is late:
# behind all that the peer was already sending. Between services a hung one is to be noticed soon, and 10 s
# are enough for a full message at 1.7 MB/s.
_NEAR_PING_SECONDS = 10.0
FAR_PING_SECONDS = MAX_DEADLINE_SECONDS
"""How long a peer on a slow link has for that: a call that takes longer is over by its deadline anyway. A
full message takes so long at 280 KB/s, and not all of it is ahead: 13 MB arrived at 100 KB/s, not at 70."""


def channel_options(
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    *,
    direct: bool = True,
    ping_seconds: float = _NEAR_PING_SECONDS,
) -> list[tuple[str, int | str]]:
    """Returns the channel options that every client of Lookalike uses.

    Args:
        max_message_bytes: Limit of one message in either direction.
        direct: Use no proxy, whatever the environment says: so the services reach each other.
        ping_seconds: How long the server may leave a ping unanswered; then its connection is closed.
    """
    return [
        *(DIRECT if direct else ()),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # What gRPC really waits for: a minute by default, whatever the option above says.
        ("grpc.http2.ping_timeout_ms", round(ping_seconds * 1000)),
        # A restarted peer is found again within a second, not after gRPC's default of up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # In spite of its name, how long one attempt to connect may take: two round trips to a peer that may
        # be busy, and a second more where a packet is lost.
        ("grpc.min_reconnect_backoff_ms", 2_000),
        # Each channel has its own connection, so that one slow peer's bytes never wait behind another's.
        ("grpc.use_local_subchannel_pool", 1),
    ]


def open_channel(
    target: str, *, max_message_bytes: int = MAX_MESSAGE_BYTES, balanced: bool = False
) -> grpc.aio.Channel:
    """Opens a channel to another service of Lookalike.

    Args:
        target: ``host:port``.
        max_message_bytes: Limit of one message in either direction.
        balanced: Call all the addresses of the host in turn, for a service whose pods are all the same. One
            connection would bring all calls to one of them.
    """
    options = channel_options(max_message_bytes)
    return grpc.aio.insecure_channel(target, options=[*options, *(_BALANCED if balanced else ())])


def passed_on() -> tuple[tuple[str, str], ...]:
    """Returns metadata with the current call's request id: one id finds the logs of all services."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return ((REQUEST_ID_KEY, request_id),) if request_id else ()
