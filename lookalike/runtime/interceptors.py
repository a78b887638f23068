"""What happens around every call: request id, metrics, limits, and errors as gRPC statuses.

Servicers just raise :class:`lookalike.errors.LookalikeError`. Anything else that escapes them is a defect: it
is logged with the request id, and the caller learns the request id and nothing more.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from lookalike.errors import InvalidInputError, OverloadedError, Reason
from lookalike.runtime.calls import Calls
from lookalike.runtime.observed import Method, ObservedCall, refuse
from lookalike.runtime.process_metrics import ProcessMetrics
from lookalike.runtime.streams import RequestStream
from lookalike.runtime.tracing import Tracing

_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]]
_Serializer = Callable[[Any], bytes]
Gate = Callable[[], None]
"""Raises where a call would be refused whatever it asks for."""
_NO_GATES: Mapping[str, Gate] = MappingProxyType({})


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of a server; interceptors further in may raise domain errors, too.

    Handlers are given decoded requests, and streams of them as an iterator: ``context.read`` is not served.

    Args:
        metrics: Where calls are counted and timed.
        calls: Says which calls there may be.
        max_message_bytes: Longer answers are refused.
        stream_idle_seconds: Streams that are silent for longer are ended.
        tracing: Makes a span of each call; None: nothing is traced.
        gates: Path of a method → what is asked before anything of a call is read.
    """

    def __init__(
        self,
        metrics: ProcessMetrics,
        calls: Calls,
        max_message_bytes: int,
        stream_idle_seconds: float,
        tracing: Tracing | None = None,
        gates: Mapping[str, Gate] = _NO_GATES,
    ) -> None:
        self._gates = gates
        self._metrics = metrics
        self._calls = calls
        self._max_message_bytes = max_message_bytes
        self._stream_idle_seconds = stream_idle_seconds
        self._tracing = tracing
        self._wrapped: dict[str, tuple[grpc.RpcMethodHandler, Method, grpc.RpcMethodHandler]] = {}

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        """Returns the method's handler with the wrapping around it, before any of the request is read."""
        path: str = handler_call_details.method
        method: Method | None = None
        try:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            known, method, wrapped = self._wrapped.get(path, (None, None, None))
            if method is None or known is not handler:
                method = Method.served(path, handler)
                wrapped = self._wrap(method, handler)
                self._wrapped[path] = handler, method, wrapped
            if gate := self._gates.get(path):
                gate()
            await self._calls.enter(method.kind)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return self._refusal(method or Method.described(path), error)
        return wrapped

    def _refusal(self, method: Method, error: BaseException) -> grpc.RpcMethodHandler:
        """Returns a handler that ends the call with an error, as that of a stream: it need not read."""

        async def refuse_quickly(_: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
            assert isinstance(error, OverloadedError)
            refuse(error, method, context, self._metrics)

        async def fail(_: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
            async with self._observed(method, context):
                raise error

        is_quick = isinstance(error, OverloadedError) and not self._tracing
        return grpc.stream_stream_rpc_method_handler(refuse_quickly if is_quick else fail)

    def _wrap(self, method: Method, handler: grpc.RpcMethodHandler) -> grpc.RpcMethodHandler:
        """Encodes and decodes inside the wrapping, so that errors of either are answered as all others."""
        if handler.request_streaming and handler.response_streaming:
            call = self._stream(method, handler, handler.stream_stream)
            return grpc.stream_stream_rpc_method_handler(call)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(self._unary(method, handler, handler.stream_unary))
        if handler.response_streaming:
            call = self._stream(method, handler, handler.unary_stream)
            # Health.Watch writes to the context by itself.
            serialize = _serializer_of_either(handler.response_serializer)
            return grpc.unary_stream_rpc_method_handler(call, response_serializer=serialize)
        return grpc.unary_unary_rpc_method_handler(self._unary(method, handler, handler.unary_unary))

    def _unary(
        self, method: Method, handler: grpc.RpcMethodHandler, inner: Callable[..., Awaitable[Any]]
    ) -> Callable[..., Awaitable[bytes]]:
        decode = _decoder(handler.request_deserializer)

        async def call(request: Any, context: grpc.aio.ServicerContext) -> bytes:
            async with self._observed(method, context):
                if handler.request_streaming:
                    requests = RequestStream(request, decode, self._stream_idle_seconds)
                    return self._encoded(handler, await inner(requests, context), context)
                size = len(request)
                self._calls.take_bytes(size)
                try:
                    response = await inner(decode(request), context)
                finally:
                    self._calls.give_bytes(size)
                return self._encoded(handler, response, context)

        return call

    def _stream(
        self, method: Method, handler: grpc.RpcMethodHandler, inner: Callable[..., Any]
    ) -> Callable[..., AsyncIterator[bytes]]:
        decode = _decoder(handler.request_deserializer)

        async def call(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            async with self._observed(method, context):
                requests = None
                if handler.request_streaming:
                    requests = request = RequestStream(request, decode, self._stream_idle_seconds)
                else:
                    request = decode(request)
                outcome = inner(request, context)
                if inspect.isawaitable(outcome):
                    await self._until_closing(outcome)
                    return
                async with aclosing(outcome) as responses:
                    async for response in responses:
                        yield self._encoded(handler, response, context)
                        if requests:
                            requests.touch()

        return call

    async def _until_closing(self, outcome: Awaitable[None]) -> None:
        """Waits for a stream's handler, and ends it when the server closes: it would never end by itself."""
        handler = asyncio.ensure_future(outcome)
        closing = asyncio.ensure_future(self._calls.closing.wait())
        try:
            await asyncio.wait((handler, closing), return_when=asyncio.FIRST_COMPLETED)
            if handler.done():
                handler.result()
        finally:
            handler.cancel()
            closing.cancel()

    def _observed(self, method: Method, context: grpc.aio.ServicerContext) -> ObservedCall:
        return ObservedCall(method, context, self._metrics, self._calls, self._tracing)

    def _encoded(
        self, handler: grpc.RpcMethodHandler, response: Any, context: grpc.aio.ServicerContext
    ) -> bytes:
        if response is None and context.code():
            return b""  # a handler that set an error's code; gRPC sends the status alone
        # Of a long answer a handler may have the encoded form already.
        content: bytes = response if isinstance(response, bytes) else handler.response_serializer(response)
        if len(content) > self._max_message_bytes:
            raise InvalidInputError(
                f"the answer has {len(content)} bytes, more than one message may have; ask for fewer results"
                f" at once (the limit is {self._max_message_bytes})",
                reason=Reason.BATCH_TOO_LARGE,
                metadata={"max_bytes": str(self._max_message_bytes)},
            )
        return content


def _decoder(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def call(content: bytes) -> Any:
        try:
            return decode(content)
        except DecodeError:
            raise InvalidInputError(
                "the message cannot be decoded: it is not of this method's request type"
            ) from None

    return call


def _serializer_of_either(serialize: _Serializer) -> _Serializer:
    return lambda message: message if isinstance(message, bytes) else serialize(message)
