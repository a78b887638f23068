"""Reads why a call failed; shared by both clients."""

from __future__ import annotations

import grpc

from lookalike.errors import LookalikeError, Reason, UnavailableError
from lookalike.wire.status import DETAILS_KEY, error_from_rpc


def call_error(error: grpc.RpcError, target: str) -> LookalikeError:
    """Returns the domain error of a failed call; ``target`` is named where no server answered."""
    if error.code() is grpc.StatusCode.UNAVAILABLE and not _described(error):
        return UnavailableError(
            f"there is no Lookalike gateway to be reached at {target}", reason=Reason.GATEWAY_UNREACHABLE
        )
    return error_from_rpc(error)


def stream_error(error: grpc.RpcError, target: str) -> LookalikeError:
    """Returns the domain error of a broken stream.

    When the server ends a stream while a message is being written, grpc.aio may report an INTERNAL of its
    own, without metadata, in place of the server's status. The next stream will tell what is wrong.
    """
    if error.code() is grpc.StatusCode.INTERNAL and not error.trailing_metadata():
        return UnavailableError("the bulk load's stream broke", reason=Reason.GATEWAY_UNREACHABLE)
    return call_error(error, target)


def _described(error: grpc.RpcError) -> bool:
    return any(key == DETAILS_KEY for key, _ in error.trailing_metadata() or ())
