"""Answers calls by the handlers of servicers: decodes, limits, and turns what they raise into gRPC statuses.

Servicers just raise :class:`lookalike.errors.LookalikeError`. Anything else that escapes them is a defect: it
is logged with the request id, and the caller learns the request id and nothing more.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from lookalike._native import NativeCall
from lookalike.errors import InvalidInputError, Reason
from lookalike.runtime.context import CallContext
from lookalike.runtime.front import Answer, Front
from lookalike.runtime.messages import Messages
from lookalike.runtime.methods import Method
from lookalike.runtime.observed import ObservedCall
from lookalike.runtime.process_metrics import ProcessMetrics
from lookalike.runtime.streams import RequestStream
from lookalike.runtime.tracing import Tracing


class Handlers:
    """Collects the handlers of servicers, in the place of a server of grpc."""

    def __init__(self) -> None:
        self.by_path: dict[str, grpc.RpcMethodHandler] = {}

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler]
    ) -> None:
        """Takes the handlers of a service."""
        self.by_path |= {f"/{service}/{name}": handler for name, handler in handlers.items()}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Takes nothing: what generated code passes here it registers by name as well."""

    def methods(self) -> list[Method]:
        """Returns what is served, in the order of :attr:`by_path`."""
        return [Method.served(path, handler) for path, handler in self.by_path.items()]


class Answers:
    """Makes what answers the calls of a server.

    Args:
        front: Whose calls they are.
        metrics: Where calls are counted and timed.
        max_message_bytes: Longer answers are refused.
        stream_idle_seconds: Streams that are silent for longer are ended.
        tracing: Makes a span of each call; None: nothing is traced.
    """

    def __init__(
        self,
        front: Front,
        metrics: ProcessMetrics,
        max_message_bytes: int,
        stream_idle_seconds: float,
        tracing: Tracing | None = None,
    ) -> None:
        self._front = front
        self._metrics = metrics
        self._max_message_bytes = max_message_bytes
        self._stream_idle_seconds = stream_idle_seconds
        self._tracing = tracing

    def by(self, handler: grpc.RpcMethodHandler, method: Method) -> Answer:
        """Returns what answers by a handler."""
        if handler.response_streaming:
            return self._stream(method, handler, handler.stream_stream or handler.unary_stream)
        return self._unary(method, handler, handler.stream_unary or handler.unary_unary)

    def _unary(
        self, method: Method, handler: grpc.RpcMethodHandler, inner: Callable[..., Awaitable[Any]]
    ) -> Answer:
        request_of = self._requests(handler)
        encode = handler.response_serializer

        async def answer(call: NativeCall, messages: Messages) -> None:
            context = CallContext(call)
            with self._observed(method, call, context) as observed:
                request = request_of(call, messages)
                observed.answer = self._encoded(encode, await inner(request, context))

        return answer

    def _stream(self, method: Method, handler: grpc.RpcMethodHandler, inner: Callable[..., Any]) -> Answer:
        request_of = self._requests(handler)
        encode = handler.response_serializer

        async def answer(call: NativeCall, messages: Messages) -> None:
            async def write(message: Any) -> None:
                await messages.send(self._encoded(encode, message))

            context = CallContext(call, write)
            with self._observed(method, call, context):
                request = request_of(call, messages)
                outcome = inner(request, context)
                if inspect.isawaitable(outcome):  # it writes by itself, as Health.Watch does
                    await self._until_closing(outcome)
                    return
                await _write_all(outcome, write, request if isinstance(request, RequestStream) else None)

        return answer

    def _requests(self, handler: grpc.RpcMethodHandler) -> Callable[[NativeCall, Messages], Any]:
        """Returns what returns the request of a call, or the stream of them."""
        decode = _decoder(handler.request_deserializer)
        if handler.request_streaming:
            return lambda _, messages: RequestStream(messages, decode, self._stream_idle_seconds)
        return lambda call, _: decode(call.request())

    async def _until_closing(self, outcome: Awaitable[None]) -> None:
        """Waits for a stream's handler, and ends it when the server closes: it would never end by itself."""
        handler = asyncio.ensure_future(outcome)
        closing = asyncio.ensure_future(self._front.closing.wait())
        try:
            await asyncio.wait((handler, closing), return_when=asyncio.FIRST_COMPLETED)
            if handler.done():
                handler.result()
        finally:
            handler.cancel()
            closing.cancel()

    def _observed(self, method: Method, call: NativeCall, context: CallContext) -> ObservedCall:
        return ObservedCall(method, call, context, self._metrics, self._front, self._tracing)

    def _encoded(self, encode: Callable[[Any], bytes], response: Any) -> bytes:
        # Of a long answer a handler may have the encoded form already.
        content = response if isinstance(response, bytes) else encode(response)
        if len(content) > self._max_message_bytes:
            raise InvalidInputError(
                f"the answer has {len(content)} bytes, more than one message may have; ask for fewer results"
                f" at once (the limit is {self._max_message_bytes})",
                reason=Reason.BATCH_TOO_LARGE,
                metadata={"max_bytes": str(self._max_message_bytes)},
            )
        return content


async def _write_all(
    outcome: Any, write: Callable[[Any], Awaitable[None]], requests: RequestStream | None
) -> None:
    responses: AsyncIterator[Any]
    async with aclosing(outcome) as responses:
        async for response in responses:
            await write(response)
            if requests:
                requests.touch()


def _decoder(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def call(content: bytes) -> Any:
        try:
            return decode(content)
        except DecodeError:
            raise InvalidInputError(
                "the message cannot be decoded: it is not of this method's request type"
            ) from None

    return call
