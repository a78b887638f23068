"""What a handler gets to know of its call, and the status that it may set."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import grpc

from lookalike._native import NativeCall
from lookalike.wire.status import CODES_BY_NUMBER


class StatusSetError(Exception):
    """Ends a call with the status that its handler has set."""


class CallContext:
    """As much of ``grpc.aio.ServicerContext`` as servicers use: ours, and those of health and reflection.

    Args:
        call: The call.
        write: Encodes and sends one message of a response stream.
    """

    def __init__(self, call: NativeCall, write: Callable[[Any], Awaitable[None]] | None = None) -> None:
        self._call = call
        self._write = write
        self._code: grpc.StatusCode | int | None = None
        self._details = ""

    def time_remaining(self) -> float | None:
        """Returns the seconds until the caller gives up; None: it waits for ever."""
        return self._call.remaining()

    def waited_seconds(self) -> float:
        """Returns for how long the whole request has been here."""
        return self._call.waited()

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Returns the metadata that the caller sent."""
        return self._call.headers()

    def peer(self) -> str:
        """Returns the caller's address, such as ``ipv4:127.0.0.1:51234``."""
        return self._call.peer()

    async def write(self, message: Any) -> None:
        """Sends one message of a response stream."""
        assert self._write, "the method answers with one message"
        await self._write(message)

    def code(self) -> grpc.StatusCode | None:
        """Returns the status code that the handler has set."""
        return CODES_BY_NUMBER[self._code] if isinstance(self._code, int) else self._code

    def details(self) -> str:
        """Returns the status message that the handler has set."""
        return self._details

    def set_code(self, code: grpc.StatusCode | int) -> None:
        """Sets the status code that the call ends with, or its number."""
        self._code = code

    def set_details(self, details: str) -> None:
        """Sets the status message that the call ends with."""
        self._details = details

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """Ends the call with a status.

        Raises:
            StatusSetError: Always.
        """
        self._code, self._details = code, details
        raise StatusSetError
