"""The search port: ``HasherService.Search`` answered by the native extension, on a port of its own.

The extension searches what is published here, without the GIL and without Python.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence

import structlog

from hasher import search_port_metrics
from hasher.config import HasherSettings
from hasher.generation import Generation
from hasher.identity import Identity
from hasher.metrics import STAGE_BUCKETS
from hasher.rows.store import RowStore
from lookalike import _native
from lookalike.collections import Rerank
from lookalike.runtime.cpus import available_cpus
from lookalike.runtime.listen import listen
from lookalike.runtime.metrics import LATENCY_BUCKETS, Metrics
from lookalike.runtime.tracing import AnsweredCall, Tracing
from lookalike.wire.status import CODES_BY_NUMBER

_EVENT_SECONDS = 1.0
log = structlog.get_logger()


class SearchPort:
    """Answers searches of what a shard publishes.

    Args:
        settings: Host, port, durations and limits.
        unloaded: Why nothing can be answered until :meth:`loaded`.
        metrics: Show what it counts, too.
    """

    def __init__(self, settings: HasherSettings, unloaded: str, metrics: Metrics) -> None:
        self._settings = settings
        self._port = _native.SearchPort(
            identity=_parts(Identity("", settings.shard, settings.shard_count)),
            unloaded=unloaded,
            search_threads=settings.search_threads or available_cpus(),
            max_waiting=settings.max_waiting_searches,
            max_calls=settings.max_concurrent_rpcs,
            max_request_bytes=settings.max_request_bytes_in_flight,
            max_message_bytes=settings.max_message_bytes,
            position_wait_seconds=settings.position_wait_seconds,
            keepalive_seconds=settings.keepalive_seconds,
            keepalive_timeout_seconds=settings.keepalive_timeout_seconds,
            max_connection_age_seconds=settings.max_connection_age_seconds,
            stage_bounds=STAGE_BUCKETS,
            call_bounds=LATENCY_BUCKETS,
            trace_sample_ratio=settings.trace_sample_ratio if settings.trace_endpoint else None,
        )
        search_port_metrics.join(metrics, self._port)
        self._tracing: Tracing | None = None
        self._events = threading.Thread(target=self._take_events, name="search-port-events", daemon=True)

    # As the shard goes on

    def publish(self, generation: Generation) -> None:
        """Serves a generation, whose index follows no log yet."""
        kept_rounded = generation.spec.rerank is not Rerank.F32
        self._port.publish(
            generation.name,
            generation.index.native,
            model_version=generation.spec.model_version,
            positions=dict(generation.positions),
            vectors=_Vectors(generation.store) if kept_rounded else None,
        )

    def advance(self, generation: str, positions: Mapping[int, int]) -> None:
        """Says which positions of the log's lanes the index of a generation rests on now."""
        self._port.advance(generation, dict(positions))

    def withdraw(self, generation: str) -> None:
        """Serves a generation no more."""
        self._port.withdraw(generation)

    def become(self, identity: Identity) -> None:
        """Says what the shard is."""
        self._port.set_identity(_parts(identity))

    def loaded(self) -> None:
        """Answers from now on."""
        self._port.set_loaded()

    # As the server goes on; see :class:`lookalike.runtime.beside.Beside`

    def start(self, tracing: Tracing | None) -> dict[str, int]:
        """Binds the port of the settings on all addresses of their host."""
        settings = self._settings
        port = listen(settings.host, settings.search_port, self._port.bind, exposed=settings.insecure)
        self._tracing = tracing
        self._events.start()
        return {"search_port": port}

    def set_serving(self, service: str, serving: bool) -> None:
        """Says what the health of a service is."""
        self._port.set_serving(service, serving)

    async def stop(self, grace_seconds: float) -> None:
        """Takes no new calls, gives running ones time to end, and frees the port."""
        await asyncio.to_thread(self._port.stop, grace_seconds)
        if self._events.is_alive():
            await asyncio.to_thread(self._events.join)

    def _take_events(self) -> None:
        while (events := self._port.events(_EVENT_SECONDS)) is not None:
            defects, traces = events
            for method, request_id, problem in defects:
                log.error("call_failed", method=method, request_id=request_id, problem=problem)
            if self._tracing:
                for trace in traces:
                    self._tracing.record(_answered(trace))


class _Vectors:
    """The vectors of a generation as they were written."""

    def __init__(self, store: RowStore) -> None:
        self._store = store

    def __call__(self, numbers: Sequence[int]) -> Iterator[tuple[object, ...]]:
        for rows in self._store.vectors(numbers):
            yield rows.numbers, rows.item_ids, rows.products, rows.vectors


def _answered(trace: _native.PortTrace) -> AnsweredCall:
    headers = {"traceparent": trace["traceparent"], "tracestate": trace["tracestate"]}
    attributes: dict[str, str | int] = {"request_id": trace["request_id"]}
    if trace["codes_scanned"] is not None:
        attributes["codes_scanned"] = trace["codes_scanned"]
    return AnsweredCall(
        path=trace["method"],
        trace_id=trace["trace_id"],
        headers={name: value for name, value in headers.items() if value is not None},
        begun_ns=trace["begun_ns"],
        seconds=trace["took_seconds"],
        stages_after_seconds=trace["stages_after_seconds"],
        stages=trace["stages"],
        attributes=attributes,
        code=CODES_BY_NUMBER[trace["code"]].name,
        failure=trace["failure"],
    )


def _parts(identity: Identity) -> tuple[str, int, int, int]:
    return identity.installation_id, identity.shard, identity.shard_count, identity.layout_epoch
