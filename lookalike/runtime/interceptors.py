"""What happens around every call: request id, metrics, overload, and errors as gRPC statuses.

Servicers just raise :class:`lookalike.errors.LookalikeError`. Anything else that escapes them is a defect: it
is logged with the request id, and the caller learns the request id and nothing more.
"""

from __future__ import annotations

import asyncio
import inspect
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError

from lookalike.errors import InvalidInputError, LookalikeError, OverloadedError, Reason
from lookalike.runtime.metrics import Metrics
from lookalike.wire.channel import REQUEST_ID_KEY
from lookalike.wire.status import DETAILS_KEY, PUSHBACK_KEY, code_of, status_of

_MAX_REQUEST_ID = 128
_UNLIMITED_PREFIX = "/grpc."

_Handler = Callable[[Any, grpc.aio.ServicerContext], Any]
log = structlog.get_logger()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of a server.

    Args:
        metrics: Where calls are counted and timed.
        max_concurrent_rpcs: Calls beyond it are refused at once, but for health and reflection.
    """

    def __init__(self, metrics: Metrics, max_concurrent_rpcs: int) -> None:
        self._metrics = metrics
        self._max_concurrent = max_concurrent_rpcs
        self._running = 0
        self.closing = asyncio.Event()
        """Set by the server when it stops taking calls."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Returns the method's handler with the wrapping around it."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        path: str = handler_call_details.method
        codec = {
            "request_deserializer": _decoder(handler.request_deserializer),
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self._unary(path, handler.unary_unary), **codec)
        if handler.unary_stream:
            wrapped = self._stream(path, "server_stream", handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(wrapped, **codec)
        if handler.stream_stream:
            wrapped = self._stream(path, "bidi_stream", handler.stream_stream)
            return grpc.stream_stream_rpc_method_handler(wrapped, **codec)
        return handler

    def _unary(self, path: str, inner: _Handler) -> _Handler:
        async def call(request: Any, context: grpc.aio.ServicerContext) -> Any:
            async with self._around(path, "unary", context):
                return await inner(_decoded(request), context)

        return call

    def _stream(self, path: str, kind: str, inner: _Handler) -> _Handler:
        async def call(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            async with self._around(path, kind, context):
                decoded = _DecodedStream(request) if kind == "bidi_stream" else _decoded(request)
                outcome = inner(decoded, context)
                if inspect.isawaitable(outcome):  # Health.Watch calls context.write itself
                    await self._until_closing(outcome)
                    return
                async for response in outcome:
                    yield response

        return call

    async def _until_closing(self, outcome: Awaitable[None]) -> None:
        """Waits for a stream's handler, and ends it when the server closes: it would never end by itself."""
        handler = asyncio.ensure_future(outcome)
        closing = asyncio.ensure_future(self.closing.wait())
        try:
            await asyncio.wait((handler, closing), return_when=asyncio.FIRST_COMPLETED)
            if handler.done():
                handler.result()
        finally:
            handler.cancel()
            closing.cancel()

    @asynccontextmanager
    async def _around(self, path: str, kind: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        service, method = path.lstrip("/").split("/", 1)
        request_id = _request_id(context)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
        code = grpc.StatusCode.OK
        start = time.perf_counter()
        self._running += 1
        try:
            if self._running > self._max_concurrent and not path.startswith(_UNLIMITED_PREFIX):
                raise OverloadedError("the server has too many calls in progress", retry_after_seconds=0.1)
            yield
            code = _set_code(context) or code
        except LookalikeError as error:
            code = code_of(error)
            await _abort(context, error, request_id)
        except (grpc.aio.AbortError, grpc.aio.UsageError):
            code = _set_code(context) or grpc.StatusCode.UNKNOWN
            raise
        except (asyncio.CancelledError, GeneratorExit):
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception:
            log.exception("call_failed", method=path)
            code = grpc.StatusCode.INTERNAL
            hidden = LookalikeError(f"internal error; the request id is {request_id}")
            await _abort(context, hidden, request_id)
        finally:
            self._running -= 1
            seconds = time.perf_counter() - start
            self._metrics.handled.labels(kind, service, method, code.name).inc()
            self._metrics.handling_seconds.labels(kind, service, method).observe(seconds)


def _decoder(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Returns a decoder that gives what is wrong instead of raising it.

    What a decoder raises, gRPC shows to the caller as the exception it is, and logs with a traceback.
    """

    def call(content: bytes) -> Any:
        try:
            return decode(content)
        except DecodeError:
            return InvalidInputError("the message cannot be decoded: it is not of this method's request type")

    return call


def _decoded(request: Any) -> Any:
    if isinstance(request, InvalidInputError):
        raise request
    return request


class _DecodedStream:
    """A stream of requests that raises at the first one that cannot be decoded."""

    def __init__(self, requests: AsyncIterator[Any]) -> None:
        self._requests = aiter(requests)

    def __aiter__(self) -> _DecodedStream:
        return self

    async def __anext__(self) -> Any:
        return _decoded(await anext(self._requests))


async def _abort(context: grpc.aio.ServicerContext, error: LookalikeError, request_id: str) -> None:
    """Ends the call with the error's status by raising grpc.aio.AbortError."""
    status = status_of(error)
    trailing: tuple[tuple[str, Any], ...] = (
        (REQUEST_ID_KEY, request_id),
        (DETAILS_KEY, status.SerializeToString()),
    )
    if error.reason is Reason.COVERAGE_TOO_LOW:  # it may have taken all the time there was, and would again
        trailing += ((PUSHBACK_KEY, "-1"),)
    await context.abort(code_of(error), status.message, trailing)


def _set_code(context: grpc.aio.ServicerContext) -> grpc.StatusCode | None:
    """The status that the handler set itself, None for none or OK."""
    number = context.code()
    return next((code for code in grpc.StatusCode if number and code.value[0] == number), None)


def _request_id(context: grpc.aio.ServicerContext) -> str:
    for key, value in context.invocation_metadata() or ():
        if (
            key == REQUEST_ID_KEY
            and isinstance(value, str)
            and 0 < len(value) <= _MAX_REQUEST_ID
            and value.isprintable()
        ):
            return value
    return uuid.uuid4().hex
