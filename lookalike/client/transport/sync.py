"""Channels, queues and waiting for the synchronous client; the face is that of the one for asyncio."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from time import sleep
from typing import Any, TypeVar

import grpc

from lookalike.wire.channel import FAR_PING_SECONDS, channel_options
from lookalike.wire.proxies import is_loopback

__all__ = ["Outbox", "in_thread", "open_channel", "sleep"]

T = TypeVar("T")


def open_channel(target: str) -> grpc.Channel:
    """Opens a channel to a gateway; only to another machine may a proxy of the environment lead."""
    options = channel_options(direct=is_loopback(target), ping_seconds=FAR_PING_SECONDS)
    return grpc.insecure_channel(target, options=options)


def in_thread(work: Callable[[], T]) -> T:
    """Does slow work; only an event loop needs another thread for it."""
    return work()


class Outbox:
    """The messages that a stream has still to send."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def put(self, message: Any) -> None:
        """Adds a message."""
        self._queue.put(message)

    def close(self) -> None:
        """Ends the stream of messages, after those that were added."""
        self._queue.put(None)

    def messages(self) -> Iterator[Any]:
        """Yields messages as they are added, until the outbox is closed."""
        return iter(self._queue.get, None)
