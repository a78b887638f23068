"""Reads why a call failed; shared by both clients."""

from __future__ import annotations

from contextlib import suppress

import grpc

from lookalike.errors import (
    DeadlineError,
    InvalidInputError,
    LookalikeError,
    Reason,
    UnavailableError,
    shown,
)
from lookalike.wire.proxies import proxy_variable
from lookalike.wire.status import DETAILS_KEY, PUSHBACK_KEY, error_from_rpc


def call_error(error: grpc.RpcError, target: str) -> LookalikeError:
    """Returns the domain error of a failed call; ``target`` is named where no server answered."""
    if not is_described(error) and error.code() is grpc.StatusCode.UNAVAILABLE:
        return UnavailableError(
            f"no Lookalike gateway can be reached at {shown(target)}{proxy_hint(target)}",
            reason=Reason.GATEWAY_UNREACHABLE,
        )
    if not is_described(error) and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineError(f"no answer came before the deadline{proxy_hint(target)}")
    if not is_described(error) and "message larger than max" in (error.details() or ""):
        return InvalidInputError(
            "the answer is larger than a message may be; ask for less", reason=Reason.BATCH_TOO_LARGE
        )
    return error_from_rpc(error)


def pushback_seconds(error: grpc.RpcError) -> float | None:
    """Returns when the server wants the call again, None where it does not say; negative: not again."""
    for key, value in error.trailing_metadata() or ():
        if key == PUSHBACK_KEY:
            with suppress(ValueError):
                return int(value) / 1000
            return -1.0
    return None


def proxy_hint(target: str) -> str:
    """Names the proxy variable that a channel to ``target`` follows, for a message; empty without one."""
    variable = proxy_variable(target)
    if not variable:
        return ""
    return f"; gRPC connects through the proxy that the environment variable {variable} names"


def stream_error(error: grpc.RpcError, target: str) -> LookalikeError:
    """Returns the domain error of a broken stream.

    When the server ends a stream while a message is being written, grpc.aio may report an INTERNAL of its
    own, without metadata, in place of the server's status. The next stream shows what is wrong.
    """
    if error.code() is grpc.StatusCode.INTERNAL and not error.trailing_metadata():
        return UnavailableError("the bulk load's stream broke", reason=Reason.GATEWAY_UNREACHABLE)
    return call_error(error, target)


def is_described(error: grpc.RpcError) -> bool:
    """Whether a server of Lookalike said why the call failed."""
    return any(key == DETAILS_KEY for key, _ in error.trailing_metadata() or ())
