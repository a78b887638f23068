"""Waiting for calls of ``grpc.aio``, so that those that are cancelled leak nothing.

Who is cancelled while waiting for a call cancels the call's own task, and so nobody takes what its batch of
operations holds when that ends: about 1 KB a call (grpc/grpc issue 43360, in 1.85). Here gRPC's core ends
the call, and its task with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

from grpc.aio import _call

_Response = TypeVar("_Response")


async def answer_of(call: Awaitable[_Response]) -> _Response:
    """Returns the answer to a call with one; it is cancelled with the caller.

    Raises:
        grpc.RpcError: The call failed.
    """
    if not isinstance(call, _call.Call):
        return await call
    ended = asyncio.ensure_future(call)
    try:
        return cast(_Response, await asyncio.shield(ended))
    except asyncio.CancelledError:
        ended.add_done_callback(_look_at)
        _call.Call.cancel(call)
        raise


def _look_at(ended: asyncio.Future[Any]) -> None:
    """Keeps asyncio from reporting how a call ended that nobody waits for."""
    if not ended.cancelled():
        ended.exception()
