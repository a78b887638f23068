"""Keeping work that grows with a message off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_INLINE_BYTES = 32 * 1024
"""Checking, hashing or copying this much takes about a millisecond."""


async def off_loop(payload_bytes: int, work: Callable[[], T]) -> T:
    """Does work at once where its payload is small, and in a thread where it would hold up all other calls.

    Args:
        payload_bytes: Size of what is worked on.
        work: Must not touch what the event loop may change meanwhile.
    """
    if payload_bytes <= _INLINE_BYTES:
        return work()
    return await asyncio.to_thread(work)
