"""The requests of a stream, which must not be silent for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from lookalike.errors import Reason, UnavailableError


class RequestStream:
    """Decodes the requests of one stream, and ends it when both sides have been silent for too long.

    Args:
        requests: Encoded.
        decode: Raises where a request cannot be decoded.
        idle_seconds: The longest silence.
    """

    def __init__(
        self, requests: AsyncIterator[bytes], decode: Callable[[bytes], Any], idle_seconds: float
    ) -> None:
        self._requests = aiter(requests)
        self._decode = decode
        self._idle_seconds = idle_seconds
        self._waiting: asyncio.Timeout | None = None

    def __aiter__(self) -> RequestStream:
        return self

    async def __anext__(self) -> Any:
        """Returns the next request.

        Raises:
            InvalidInputError: It cannot be decoded.
            UnavailableError: None came in time (``STREAM_IDLE``).
        """
        try:
            async with asyncio.timeout(self._idle_seconds) as self._waiting:
                encoded = await anext(self._requests)
        except TimeoutError:
            raise UnavailableError(
                f"the stream was idle for {self._idle_seconds:g} s; open it again when there is more to send",
                reason=Reason.STREAM_IDLE,
            ) from None
        finally:
            self._waiting = None
        return self._decode(encoded)

    def touch(self) -> None:
        """Starts the silence again: the server has said something, and the client may be busy with it."""
        if self._waiting:
            self._waiting.reschedule(asyncio.get_running_loop().time() + self._idle_seconds)
