"""One call from its start to its end: its request id, its status, and what is counted of it."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import TracebackType
from typing import Self

import grpc
import structlog
from google.protobuf import descriptor_pool

from lookalike.errors import LookalikeError, NotSupportedError, OverloadedError, Reason
from lookalike.files.open_files import open_files_error
from lookalike.runtime.calls import Calls, Kind, shutting_down
from lookalike.runtime.process_metrics import ProcessMetrics
from lookalike.runtime.tracing import TracedCall, Tracing
from lookalike.wire.channel import REQUEST_ID_KEY, RETRY_KEY
from lookalike.wire.status import CODES_BY_NUMBER, DETAILS_KEY, PUSHBACK_KEY, code_of, status_of

_MAX_REQUEST_ID = 128
_NEW_REQUEST_ID_BYTES = 16
_PROBES = "/grpc."
_LATE_SECONDS = 0.05
"""A call that its client ends with less time left came late: the client's clock began to run earlier."""
_RETRY_KEYS = (RETRY_KEY, "grpc-previous-rpc-attempts")
"""Ours, and what gRPC's own retries send."""
_TYPES = {
    (False, False): "unary",
    (True, False): "client_stream",
    (False, True): "server_stream",
    (True, True): "bidi_stream",
}

log = structlog.get_logger()


@dataclass(frozen=True)
class Method:
    """A method as metrics and limits see it."""

    path: str
    grpc_type: str
    kind: Kind

    @cached_property
    def labels(self) -> tuple[str, str, str]:
        """The values of the metrics' first labels: type, service and method."""
        service, name = self.path.lstrip("/").split("/", 1)
        return self.grpc_type, service, name

    @property
    def name(self) -> str:
        """The method's own name."""
        return self.labels[-1]

    @classmethod
    def served(cls, path: str, handler: grpc.RpcMethodHandler) -> Self:
        """Returns the method of a handler."""
        streams = bool(handler.request_streaming), bool(handler.response_streaming)
        kind: Kind = "probe" if path.startswith(_PROBES) else "stream" if any(streams) else "call"
        return cls(path, _TYPES[streams], kind)

    @classmethod
    def described(cls, path: str) -> Self:
        """Returns the method of a path whose handler is not known; all that no proto describes are one."""
        try:
            method = descriptor_pool.Default().FindMethodByName(path.strip("/").replace("/", "."))
        except KeyError:
            return cls("/unknown/unknown", "unary", "call")
        return cls(path, _TYPES[method.client_streaming, method.server_streaming], "call")

    @classmethod
    def all_of(cls, service: str) -> list[Self]:
        """Returns the methods of a service, by its full name; none of one that no proto describes."""
        try:
            methods = descriptor_pool.Default().FindServiceByName(service).methods
        except KeyError:
            return []
        return [cls.described(f"/{service}/{method.name}") for method in methods]


class ObservedCall:
    """The context of one call: what is raised inside becomes its status.

    Args:
        method: The called one.
        context: gRPC's.
        metrics: Where the call is counted and timed.
        calls: The call leaves them at its end.
        tracing: Makes its span; None: nothing is traced.
    """

    def __init__(
        self,
        method: Method,
        context: grpc.aio.ServicerContext,
        metrics: ProcessMetrics,
        calls: Calls,
        tracing: Tracing | None,
    ) -> None:
        self._method = method
        self._context = context
        self._metrics = metrics
        self._calls = calls
        self._tracing = tracing
        self._span: TracedCall | None = None

    async def __aenter__(self) -> None:
        self._request_id = _read_metadata(self._method, self._context, self._metrics)
        structlog.contextvars.bind_contextvars(request_id=self._request_id)
        self._context.set_trailing_metadata(((REQUEST_ID_KEY, self._request_id),))
        if self._tracing and self._method.kind != "probe":
            self._begin_span(self._tracing)
        self._start = time.perf_counter()

    def _begin_span(self, tracing: Tracing) -> None:
        self._span = tracing.begin(self._method.path, self._context.invocation_metadata() or ())
        if self._span:
            self._span.describe(request_id=self._request_id)
            structlog.contextvars.bind_contextvars(trace_id=self._span.trace_id)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        assert task
        self._calls.leave(task)
        answer = self._answer(error)
        code = code_of(answer) if isinstance(answer, LookalikeError) else answer
        self._metrics.ended(self._method.labels, code, time.perf_counter() - self._start)
        if self._span:
            self._span.end(code.name, answer if isinstance(answer, LookalikeError) else None)
        if isinstance(answer, LookalikeError):
            if isinstance(error, asyncio.CancelledError):
                task.uncancel()
            await self._abort(answer)

    def _answer(self, error: BaseException | None) -> LookalikeError | grpc.StatusCode:
        """Returns the error that ends the call, or the code of one that ends without our doing."""
        if error is None:
            return _code_set(self._context) or grpc.StatusCode.OK
        if isinstance(error, LookalikeError):
            return error
        if isinstance(error, grpc.aio.AbortError | grpc.aio.UsageError):
            return _code_set(self._context) or grpc.StatusCode.UNKNOWN
        if isinstance(error, asyncio.CancelledError) and self._calls.cut_off:
            return shutting_down()
        if isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt | SystemExit):
            remaining = self._context.time_remaining()
            is_late = remaining is not None and remaining < _LATE_SECONDS
            return grpc.StatusCode.DEADLINE_EXCEEDED if is_late else grpc.StatusCode.CANCELLED
        if isinstance(error, NotImplementedError) and (
            _code_set(self._context) is grpc.StatusCode.UNIMPLEMENTED
        ):  # the generated base class of a servicer
            return NotSupportedError(f"{self._method.name} is not supported in this version")
        log.error("call_failed", method=self._method.path, exc_info=error)
        if full := open_files_error(error):
            return full
        return LookalikeError(f"internal error; the request id is {self._request_id}")

    async def _abort(self, error: LookalikeError) -> None:
        """Ends the call with the error's status by raising grpc.aio.AbortError."""
        status = status_of(error)
        trailing: tuple[tuple[str, str | bytes], ...] = (
            (REQUEST_ID_KEY, self._request_id),
            (DETAILS_KEY, status.SerializeToString()),
        )
        if error.reason is Reason.COVERAGE_TOO_LOW:  # a repeat would take as long
            trailing += ((PUSHBACK_KEY, "-1"),)
        await self._context.abort(code_of(error), status.message, trailing)


def refuse(
    error: OverloadedError, method: Method, context: grpc.aio.ServicerContext, metrics: ProcessMetrics
) -> None:
    """Ends a call that there is no room for, with the least work: under overload most calls end so.

    Its handler is to read nothing, and to return then.
    """
    details = _overload_details(error.message, error.reason, error.retry_after_seconds)
    request_id = _read_metadata(method, context, metrics)
    context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
    context.set_details(error.message)
    context.set_trailing_metadata(((REQUEST_ID_KEY, request_id), (DETAILS_KEY, details)))
    metrics.ended(method.labels, grpc.StatusCode.RESOURCE_EXHAUSTED, 0.0)


@lru_cache(maxsize=16)
def _overload_details(message: str, reason: Reason, retry_after_seconds: float) -> bytes:
    status = status_of(OverloadedError(message, reason=reason, retry_after_seconds=retry_after_seconds))
    encoded: bytes = status.SerializeToString()
    return encoded


def _read_metadata(method: Method, context: grpc.aio.ServicerContext, metrics: ProcessMetrics) -> str:
    """Returns the caller's request id, or a new one, and counts a call that was sent before."""
    request_id = ""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str) and value.isprintable():
            request_id = request_id or value
        elif key in _RETRY_KEYS:
            metrics.retried(method.name)
    if 0 < len(request_id) <= _MAX_REQUEST_ID:
        return request_id
    return os.urandom(_NEW_REQUEST_ID_BYTES).hex()


def _code_set(context: grpc.aio.ServicerContext) -> grpc.StatusCode | None:
    """Returns the status that the handler set itself, as a code or its number."""
    code = context.code()
    return CODES_BY_NUMBER.get(code.value[0] if isinstance(code, grpc.StatusCode) else code)
