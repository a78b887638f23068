"""The messages of one streaming call as they come and go."""

from __future__ import annotations

import asyncio

from lookalike._native import NativeCall


class Messages:
    """Reads and sends one message at a time, which holds a fast peer back.

    Args:
        call: The call.
    """

    def __init__(self, call: NativeCall) -> None:
        self._call = call
        self._received: asyncio.Future[bytes | None] | None = None
        self._sent: asyncio.Future[None] | None = None

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> bytes:
        """Returns the next message of the client."""
        self._received = asyncio.get_running_loop().create_future()
        self._call.receive()
        message = await self._received
        if message is None:
            raise StopAsyncIteration
        return message

    async def send(self, message: bytes) -> None:
        """Sends a message, and returns once the connection has taken it."""
        self._sent = asyncio.get_running_loop().create_future()
        self._call.send(message)
        await self._sent

    def noted(self, what: str, content: bytes) -> None:
        """Takes a note of the extension; see ``NativeFront.arrived``."""
        if what == "sent":
            if self._sent and not self._sent.done():
                self._sent.set_result(None)
        elif self._received and not self._received.done():
            self._received.set_result(content if what == "message" else None)
