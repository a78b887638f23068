"""One call from its start to its end: its span, its status, and what is counted of it."""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache
from types import TracebackType
from typing import Self

import grpc
import structlog

from lookalike._native import NativeCall
from lookalike.errors import (
    LookalikeError,
    NotSupportedError,
    OverloadedError,
    Reason,
    UnavailableError,
)
from lookalike.files.open_files import open_files_error
from lookalike.runtime.context import CallContext, StatusSetError
from lookalike.runtime.front import Front
from lookalike.runtime.methods import Method
from lookalike.runtime.process_metrics import ProcessMetrics
from lookalike.runtime.tracing import TracedCall, Tracing
from lookalike.wire.status import DETAILS_KEY, PUSHBACK_KEY, code_of, status_of

_LATE_SECONDS = 0.05
"""A call that its client ends with less time left came late: the client's clock began to run earlier."""

log = structlog.get_logger()


class ObservedCall:
    """The context of one call: what is raised inside becomes its status.

    Args:
        method: The called one.
        call: The call.
        context: What its handler sets.
        metrics: Where the call is counted and timed.
        front: Says whether the call is cut off.
        tracing: Makes its span; None: nothing is traced.
    """

    def __init__(
        self,
        method: Method,
        call: NativeCall,
        context: CallContext,
        metrics: ProcessMetrics,
        front: Front,
        tracing: Tracing | None,
    ) -> None:
        self._method = method
        self._call = call
        self._context = context
        self._metrics = metrics
        self._front = front
        self._tracing = tracing
        self._span: TracedCall | None = None
        self.answer: bytes | None = None
        """The one message that answers the call; None: messages were sent, if any."""

    def __enter__(self) -> Self:
        waited_seconds = self._call.waited()
        self._start = time.perf_counter() - waited_seconds
        self._metrics.taken(waited_seconds)
        self._request_id = self._call.request_id
        structlog.contextvars.bind_contextvars(request_id=self._request_id)
        if self._tracing and self._method.kind != "probe":
            self._begin_span(self._tracing)
        return self

    def _begin_span(self, tracing: Tracing) -> None:
        self._span = tracing.begin(self._method.path, self._call.headers(), self._start)
        if self._span:
            self._span.describe(request_id=self._request_id)
            structlog.contextvars.bind_contextvars(trace_id=self._span.trace_id)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        outcome = self._outcome(error)
        failure = outcome if isinstance(outcome, LookalikeError) else None
        code = code_of(outcome) if isinstance(outcome, LookalikeError) else outcome
        self._metrics.ended(self._method.labels, code, time.perf_counter() - self._start)
        if self._span:
            self._span.end(code.name, failure)
        self._end(code, failure)
        return not isinstance(error, GeneratorExit | KeyboardInterrupt | SystemExit)

    def _end(self, code: grpc.StatusCode, failure: LookalikeError | None) -> None:
        if failure:
            message, details = _status(failure)
            trailers: list[tuple[str, str | bytes]] = [(DETAILS_KEY, details)]
            if failure.reason is Reason.COVERAGE_TOO_LOW:  # a repeat would take as long
                trailers.append((PUSHBACK_KEY, "-1"))
            self._call.end(code.value[0], message, trailers)
        elif code is grpc.StatusCode.OK and self.answer is not None:
            self._call.answer(self.answer)
        else:
            self._call.end(code.value[0], self._context.details(), [])

    def _outcome(self, error: BaseException | None) -> LookalikeError | grpc.StatusCode:
        """Returns the error that ends the call, or the code of one that ends without our doing."""
        code = self._context.code()
        if error is None:
            return code or grpc.StatusCode.OK
        if isinstance(error, LookalikeError):
            return error
        if isinstance(error, StatusSetError):
            return code or grpc.StatusCode.UNKNOWN
        if isinstance(error, asyncio.CancelledError) and self._front.cut_off:
            return shutting_down()
        if isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt | SystemExit):
            remaining = self._call.remaining()
            is_late = remaining is not None and remaining < _LATE_SECONDS
            return grpc.StatusCode.DEADLINE_EXCEEDED if is_late else grpc.StatusCode.CANCELLED
        if isinstance(error, NotImplementedError) and code is grpc.StatusCode.UNIMPLEMENTED:
            # of the generated base class of a servicer
            return NotSupportedError(f"{self._method.name} is not supported in this version")
        log.error("call_failed", method=self._method.path, exc_info=error)
        if full := open_files_error(error):
            return full
        return LookalikeError(f"internal error; the request id is {self._request_id}")


def shutting_down() -> UnavailableError:
    """Returns the error of a call that a stopping server does not answer."""
    return UnavailableError("the server is about to stop", reason=Reason.SHUTTING_DOWN)


def _status(error: LookalikeError) -> tuple[str, bytes]:
    if isinstance(error, OverloadedError) and not (error.field or error.metadata):
        return _overloaded(error.message, error.reason, error.retry_after_seconds)
    status = status_of(error)
    return status.message, status.SerializeToString()


@lru_cache(maxsize=16)
def _overloaded(message: str, reason: Reason, retry_after_seconds: float) -> tuple[str, bytes]:
    """Under overload most calls end so: it must cost little."""
    status = status_of(OverloadedError(message, reason=reason, retry_after_seconds=retry_after_seconds))
    return status.message, status.SerializeToString()
