"""Waiting for a server to be ready, by the standard health protocol."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lookalike.client import checks
from lookalike.errors import Reason, UnavailableError
from lookalike.wire.channel import channel_options

SEARCH_SERVICE = "lookalike.v1.SearchService"
_POLL_SECONDS = 0.1


def wait_until_serving(
    target: str,
    *,
    service: str = SEARCH_SERVICE,
    timeout_seconds: float = 60.0,
    while_waiting: Callable[[], None] = lambda: None,
) -> None:
    """Waits until a service of this installation says SERVING; no proxy is used.

    Args:
        target: ``host:port``.
        service: Its full name.
        timeout_seconds: How long to wait.
        while_waiting: Called again and again; may raise to end the wait.

    Raises:
        UnavailableError: The time is up.
        InvalidInputError: The timeout is not a number of 0 or above.
    """
    deadline = time.monotonic() + checks.patience(timeout_seconds, "timeout_seconds")
    with grpc.insecure_channel(target, options=channel_options()) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline:
            while_waiting()
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=1.0)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.RpcError:
                pass
            time.sleep(_POLL_SECONDS)
    raise UnavailableError(
        f"{target} was not ready within {timeout_seconds:.0f} s", reason=Reason.GATEWAY_UNREACHABLE
    )
