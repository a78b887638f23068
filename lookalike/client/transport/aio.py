"""Channels, queues and waiting for the client of asyncio."""

from __future__ import annotations

import asyncio
from asyncio import sleep
from asyncio import to_thread as in_thread
from collections.abc import AsyncIterator
from typing import Any

import grpc

from lookalike.wire.channel import FAR_PING_SECONDS, channel_options
from lookalike.wire.proxies import is_loopback

__all__ = ["Outbox", "in_thread", "open_channel", "sleep"]


def open_channel(target: str) -> grpc.aio.Channel:
    """Opens a channel to a gateway; call it inside the running event loop.

    Only to another machine may a proxy of the environment lead.
    """
    options = channel_options(direct=is_loopback(target), ping_seconds=FAR_PING_SECONDS)
    return grpc.aio.insecure_channel(target, options=options)


class Outbox:
    """The messages that a stream has still to send."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def put(self, message: Any) -> None:
        """Adds a message."""
        self._queue.put_nowait(message)

    def close(self) -> None:
        """Ends the stream of messages, after those that were added."""
        self._queue.put_nowait(None)

    async def messages(self) -> AsyncIterator[Any]:
        """Yields messages as they are added, until the outbox is closed."""
        while (message := await self._queue.get()) is not None:
            yield message
