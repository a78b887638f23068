"""Traces by OpenTelemetry: a span for each call that is served, for its stages and the calls that it makes.

Without ``trace_endpoint`` nothing of OpenTelemetry is imported, and what is here costs a look at a context
variable. Callers that send a W3C ``traceparent`` decide for themselves whether their call is sampled.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from lookalike.errors import InvalidInputError, LookalikeError, Reason

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

    from lookalike.runtime.settings import ServerSettings

TRACEPARENT = "traceparent"
_TRACE_KEYS = (TRACEPARENT, "tracestate")
_EXPORT_SECONDS = 5
"""How long one attempt to hand spans over may take; also what a stop waits for at most."""
_OFF: AbstractContextManager[Mapping[str, str]] = nullcontext({})
_Value = str | int | float
_current: ContextVar[TracedCall | None] = ContextVar("traced_call", default=None)
_decided: ContextVar[int] = ContextVar("decided_trace_id", default=0)
"""The id of the next trace that begins, where something outside of Python has chosen it; 0: a new one."""
_untraced: ContextVar[AbstractContextManager[Mapping[str, str]]] = ContextVar("untraced", default=_OFF)
"""What :func:`outgoing` returns where no sampled call is being answered."""


def current_call() -> TracedCall | None:
    """Returns the sampled call that is being answered; None: there is none.

    Threads of a pool do not know it: pass it on to them.
    """
    return _current.get()


def exemplar() -> dict[str, str] | None:
    """Returns the labels of the current call's trace, for a metric; None: there is none."""
    call = _current.get()
    return None if call is None else {"trace_id": call.trace_id}


def outgoing(name: str, **attributes: _Value) -> AbstractContextManager[Mapping[str, str]]:
    """Returns a context that is the span of a call to another service; it yields the headers to send along.

    Of a call that is not sampled the headers say so: the other service must not decide again.

    Args:
        name: Service and method, such as ``lookalike.v1.HasherService/Search``.
        attributes: Of the span, ``lookalike.`` in front of their names.
    """
    call = _current.get()
    return _untraced.get() if call is None else call.outgoing(name, attributes)


def begin_outgoing(name: str, attributes: Iterable[Mapping[str, _Value]]) -> list[OutgoingCall]:
    """Begins the spans of calls that are made together; none where no sampled call is being answered.

    Args:
        name: See :func:`outgoing`.
        attributes: Of each call's span, as there.
    """
    call = _current.get()
    return [] if call is None else [call.begin_outgoing(name, own) for own in attributes]


def untraced_headers() -> Mapping[str, str]:
    """Returns the headers of calls that no span is begun for: whether the current call is not sampled."""
    with _untraced.get() as headers:
        return headers


def stage(name: str) -> AbstractContextManager[object]:
    """Returns a context that is the span of a stage of the current call."""
    call = _current.get()
    return _OFF if call is None else call.stage(name)


@contextmanager
def on_behalf_of(calls: Sequence[TracedCall | None]) -> Iterator[None]:
    """Makes the first sampled one of several calls the current one, linked to the others: for their batch."""
    sampled = list(dict.fromkeys(call for call in calls if call is not None))
    if not sampled:
        yield
        return
    token = _current.set(sampled[0].with_links(sampled[1:]))
    try:
        yield
    finally:
        _current.reset(token)


class TracedCall:
    """A call that is served and sampled.

    Args:
        tracer: Makes spans.
        span: Of the call.
        links: Other calls that outgoing ones are for, too.
    """

    def __init__(self, tracer: Tracer, span: Span, links: Sequence[TracedCall] = ()) -> None:
        self._tracer = tracer
        self.span = span
        self._links = links

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, as logs and exemplars have it."""
        return f"{self.span.get_span_context().trace_id:032x}"

    def with_links(self, others: Sequence[TracedCall]) -> TracedCall:
        """Returns the same call, whose outgoing calls are for others, too."""
        return TracedCall(self._tracer, self.span, others)

    def stages(self, start: float, seconds: Iterable[tuple[str, float]]) -> None:
        """Adds the stages of the call, one after another; those that took no time did not take place.

        Args:
            start: When the first began, by ``time.perf_counter`` or ``time.monotonic``, one clock on Linux.
            seconds: Names and durations.
        """
        at = _wall_clock_ns(start)
        _add_stages(self._tracer, self.span, at, seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """See :func:`stage`."""
        with _ended(self._tracer.start_span(name, self._context())):
            yield

    def describe(self, **attributes: _Value) -> None:
        """Adds attributes to the call's span, ``lookalike.`` in front of their names."""
        self.span.set_attributes(_own(attributes))

    @contextmanager
    def outgoing(self, name: str, attributes: Mapping[str, _Value]) -> Iterator[Mapping[str, str]]:
        """See :func:`outgoing`."""
        span = self._client_span(name, attributes)
        with _ended(span):
            yield _headers(span)

    def begin_outgoing(self, name: str, attributes: Mapping[str, _Value]) -> OutgoingCall:
        """See :func:`begin_outgoing`."""
        return OutgoingCall(self._client_span(name, attributes))

    def _client_span(self, name: str, attributes: Mapping[str, _Value]) -> Span:
        from opentelemetry.trace import Link, SpanKind

        return self._tracer.start_span(
            name,
            self._context(),
            SpanKind.CLIENT,
            attributes={**_rpc(name), **_own(attributes)},
            links=[Link(other.span.get_span_context()) for other in self._links],
        )

    def end(self, code: str, error: LookalikeError | None) -> None:
        """Ends the call's span.

        Args:
            code: The name of its status.
            error: What the caller gets, if it failed.
        """
        _set_outcome(self.span, code, None if error is None else (error.reason.value, error.message))
        self.span.end()

    def _context(self) -> Any:
        from opentelemetry.trace import set_span_in_context

        return set_span_in_context(self.span)


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A call that was answered outside of Python, whose span is made afterwards.

    Attributes:
        path: ``/service/method``.
        trace_id: Of its trace, which it is sampled by if that begins with it.
        headers: What the caller sent of its trace; empty: it begins with this call.
        begun_ns: When it began, since 1970.
        seconds: How long it took.
        stages_after_seconds: From its beginning to that of its first stage.
        stages: Names and durations, one after another.
        attributes: Of its span, ``lookalike.`` in front of their names.
        code: The name of its status.
        failure: Reason and message, if it failed.
    """

    path: str
    trace_id: int
    headers: Mapping[str, str]
    begun_ns: int
    seconds: float
    stages_after_seconds: float
    stages: Sequence[tuple[str, float]]
    attributes: Mapping[str, _Value]
    code: str
    failure: tuple[str, str] | None


class OutgoingCall:
    """A call to another service that is being made.

    Args:
        span: Of the call; it is shown only once it has ended.
    """

    def __init__(self, span: Span) -> None:
        self._span = span
        self._start_ns = time.time_ns()
        self.headers: Mapping[str, str] = _headers(span)
        """To send along."""

    def end(self, error: BaseException | None = None, seconds: float | None = None) -> None:
        """Ends the span.

        Args:
            error: What the call ended with, if it failed.
            seconds: After how long it ended; None: just now.
        """
        if error is not None:
            _fail(self._span, error)
        self._span.end(None if seconds is None else self._start_ns + round(seconds * 1e9))


class Tracing:
    """The traces of one process.

    Args:
        provider: Where its spans go.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("lookalike")

    def begin(
        self, path: str, metadata: Iterable[tuple[str, str | bytes]], start: float
    ) -> TracedCall | None:
        """Begins the span of a call that is served, and makes it the current one; None: it is not sampled.

        Args:
            path: ``/service/method``.
            metadata: As the caller sent it.
            start: When it arrived, by ``time.perf_counter``.
        """
        headers = {key: value for key, value in metadata if key in _TRACE_KEYS and isinstance(value, str)}
        span = self._served(path, headers, _wall_clock_ns(start))
        if not span.is_recording():
            _untraced.set(nullcontext(_headers(span)))
            return None
        call = TracedCall(self._tracer, span)
        _current.set(call)
        return call

    def record(self, call: AnsweredCall) -> None:
        """Makes the span of a call that has ended, if its caller or its trace's id samples it."""
        token = _decided.set(call.trace_id)
        span = self._served(call.path, call.headers, call.begun_ns, **_own(call.attributes))
        _decided.reset(token)
        after_ns = round(call.stages_after_seconds * 1e9)
        _add_stages(self._tracer, span, call.begun_ns + after_ns, call.stages)
        _set_outcome(span, call.code, call.failure)
        span.end(call.begun_ns + round(call.seconds * 1e9))

    def _served(self, path: str, headers: Mapping[str, str], begun_ns: int, **attributes: _Value) -> Span:
        """Begins the span of a call that is served, in the trace that its headers name."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract(headers)
        name = path.removeprefix("/")
        return self._tracer.start_span(
            name, parent, SpanKind.SERVER, attributes={**_rpc(name), **attributes}, start_time=begun_ns
        )

    def close(self) -> None:
        """Hands over what is left, for as long as one attempt may take."""
        self._provider.shutdown()


def open_tracing(name: str, settings: ServerSettings, **resource: str | int) -> Tracing | None:
    """Returns what traces the calls of a service; None: its settings name no endpoint.

    Args:
        name: Of the service.
        settings: Its settings.
        resource: Further attributes of the process.

    Raises:
        InvalidInputError: OpenTelemetry is not installed (``CONFIG_INVALID``).
    """
    if not settings.trace_endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError:
        raise InvalidInputError(
            "trace_endpoint needs OpenTelemetry: pip install 'lookalike[tracing]'",
            reason=Reason.CONFIG_INVALID,
            field="trace_endpoint",
        ) from None

    class Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return _decided.get() or super().generate_trace_id()

    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.trace_sample_ratio)),
        resource=Resource.create(
            {"service.name": f"lookalike-{name}", "service.version": version("lookalike"), **resource}
        ),
        id_generator=Ids(),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(settings.trace_endpoint, timeout=_EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=1000 * _EXPORT_SECONDS))
    return Tracing(provider)


def _wall_clock_ns(at: float) -> int:
    """Returns what the time of ``time.perf_counter`` was in nanoseconds since 1970."""
    return time.time_ns() - round((time.perf_counter() - at) * 1e9)


def _add_stages(tracer: Tracer, span: Span, at_ns: int, seconds: Iterable[tuple[str, float]]) -> None:
    from opentelemetry.trace import set_span_in_context

    context = set_span_in_context(span)
    for name, duration in seconds:
        end_ns = at_ns + round(duration * 1e9)
        if duration:
            tracer.start_span(name, context, start_time=at_ns).end(end_ns)
        at_ns = end_ns


def _set_outcome(span: Span, code: str, failure: tuple[str, str] | None) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("rpc.response.status_code", code)
    if failure:
        reason, message = failure
        span.set_attribute("error.type", reason)
        span.set_status(Status(StatusCode.ERROR, message))


def _headers(span: Span) -> dict[str, str]:
    """Returns what tells another service of a span, and whether it is sampled."""
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers, set_span_in_context(span))
    return headers


def _rpc(name: str) -> dict[str, str]:
    return {"rpc.system.name": "grpc", "rpc.method": name}


def _own(attributes: Mapping[str, _Value]) -> dict[str, _Value]:
    return {f"lookalike.{name}": value for name, value in attributes.items()}


@contextmanager
def _ended(span: Span) -> Iterator[None]:
    """Ends a span with the block, and says what went wrong there."""
    try:
        yield
    except BaseException as error:
        _fail(span, error)
        raise
    finally:
        span.end()


def _fail(span: Span, error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode

    kind = error.reason.value if isinstance(error, LookalikeError) else type(error).__name__
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
