"""Runs the gRPC services of one process from start to graceful stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2_grpc

from lookalike.addresses import join_address
from lookalike.files.disk import replace_file
from lookalike.files.open_files import raise_limit
from lookalike.runtime.beside import Beside
from lookalike.runtime.calls import Calls
from lookalike.runtime.health import HealthMonitor, ReadinessCheck
from lookalike.runtime.interceptors import CallInterceptor, Gate
from lookalike.runtime.listen import listen
from lookalike.runtime.metrics import Metrics, MetricsServer
from lookalike.runtime.observed import Method
from lookalike.runtime.process_metrics import ProcessMetrics
from lookalike.runtime.reflection import add_reflection
from lookalike.runtime.settings import ServerSettings
from lookalike.runtime.tracing import exemplar, open_tracing

MAX_UNTAKEN_SECONDS = 3600
"""How long a call may wait for its handler; longer than any deadline."""
_MAX_UNTAKEN_CALLS = 10_000
_HEALTH = "grpc.health.v1.Health"
_BACKSTOP_SECONDS = 1.0
"""After ``stop_grace_seconds`` calls are given this long to end with an error that says why."""
_LINGER_SECONDS = 2.0
"""After the last answer connections are given this long to carry it, and to confirm that no call follows."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Service:
    """One gRPC service of the process."""

    full_name: str
    """Such as ``lookalike.v1.SearchService``."""
    add_to: Callable[[grpc.aio.Server], None]
    """Adds the servicer to the server."""
    check_ready: ReadinessCheck
    """Polled each second; drives the service's health."""


class ServerRunner:
    """One gRPC server with health, reflection, metrics and a graceful stop.

    The stop goes: health NOT_SERVING → wait ``drain_wait_seconds`` → refuse new calls and give running ones
    ``stop_grace_seconds``, no longer than there are any → refuse those, too → end ``background`` → ``close``
    callbacks in order → traces → metrics.

    Args:
        name: The process's name in logs.
        services: What it serves.
        settings: Ports, durations and limits.
        metrics: Served on ``/metrics``.
        interceptors: Further ones, the first the outermost. They are called before a request is read, and may
            refuse it by raising a domain error.
        credentials: For TLS; None serves without.
        background: What runs while the server serves. :meth:`run` ends with the first failure of one.
        close: Called after the last call has ended.
        draining: Set when the stop begins, for long streams that should end by themselves.
        beside: What is served on a port of its own; it stops like the server.
        gates: Path of a method → what raises, before anything of a call is read, where it would be refused.
    """

    def __init__(
        self,
        name: str,
        services: Sequence[Service],
        settings: ServerSettings,
        metrics: Metrics,
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        credentials: grpc.ServerCredentials | None = None,
        background: Sequence[Callable[[], Coroutine[None, None, None]]] = (),
        close: Sequence[Callable[[], Awaitable[None]]] = (),
        draining: asyncio.Event | None = None,
        beside: Beside | None = None,
        gates: Mapping[str, Gate] | None = None,
    ) -> None:
        self.port = settings.port
        self.metrics_port = settings.metrics_port
        self.further_ports: dict[str, int] = {}
        """Those of what is served beside, by their names."""
        self.draining = draining or asyncio.Event()
        self._name = name
        self._services = tuple(services)
        self._settings = settings
        self._metrics = metrics
        self._credentials = credentials
        self._close = tuple(close)
        self._beside = beside
        self._health = HealthMonitor(
            {service.full_name: service.check_ready for service in services},
            follow=beside.set_serving if beside else None,
        )
        self._calls = Calls(
            settings.max_concurrent_rpcs,
            settings.max_concurrent_streams,
            settings.max_request_bytes_in_flight,
        )
        self._process_metrics = ProcessMetrics(metrics, name, self._calls)
        self._tracing = open_tracing(name, settings)
        if self._tracing:
            metrics.exemplar = exemplar
        own = CallInterceptor(
            self._process_metrics,
            self._calls,
            settings.max_message_bytes,
            settings.stream_idle_seconds,
            self._tracing,
            gates or {},
        )
        self._interceptors = (own, *interceptors)
        self._background = (*background, self._process_metrics.watch_event_loop)
        self._metrics_server: MetricsServer | None = None
        self._server: grpc.aio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Binds the ports and serves.

        Raises:
            InvalidInputError: A port cannot be bound (``CONFIG_INVALID``).
        """
        settings = self._settings
        self._server = server = grpc.aio.server(
            interceptors=self._interceptors, options=server_options(settings)
        )
        for service in self._services:
            service.add_to(server)
            self._process_metrics.serves(method.labels for method in Method.all_of(service.full_name))
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, server)
        add_reflection(server, [*(service.full_name for service in self._services), _HEALTH])
        exposed = settings.insecure or self._credentials is not None
        self.port = listen(settings.host, settings.port, self._bind, exposed=exposed)
        if self._beside:
            self.further_ports = self._beside.start(self._tracing)
        if settings.metrics_port >= 0:
            self._metrics_server = MetricsServer(
                self._metrics, settings.metrics_address, settings.metrics_port, exposed=settings.insecure
            )
            self.metrics_port = self._metrics_server.port
        await server.start()
        await self._health.start()
        self._tasks = [asyncio.create_task(work()) for work in self._background]
        ports = {"port": self.port, **self.further_ports, "metrics_port": self.metrics_port}
        log.info("serving", name=self._name, **ports)
        if settings.ready_file:
            _write_ready_file(settings.ready_file, ports)

    def _bind(self, address: str, port: int) -> int:
        assert self._server
        target = join_address(address, port)
        if self._credentials:
            return int(self._server.add_secure_port(target, self._credentials))
        return int(self._server.add_insecure_port(target))

    async def stop(self) -> None:
        """Stops gracefully; see the class for the order."""
        log.info("stopping", name=self._name)
        self.draining.set()
        await self._health.stop()
        await asyncio.sleep(self._settings.drain_wait_seconds)
        await asyncio.gather(self._end_calls(), self._end_beside())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for close in self._close:
            await close()
        if self._tracing:
            await asyncio.to_thread(self._tracing.close)
        if self._metrics_server:
            await asyncio.to_thread(self._metrics_server.stop)
        log.info("stopped", name=self._name)

    async def _end_beside(self) -> None:
        if self._beside:
            await self._beside.stop(self._settings.stop_grace_seconds)

    async def _end_calls(self) -> None:
        """Ends every call with an answer or a reason, whatever it is at: gRPC itself would just cancel it."""
        server = self._server
        if not server:
            return
        grace_seconds = self._settings.stop_grace_seconds
        await self._calls.hold()
        # Clients are sent elsewhere before the waiting calls are refused: they never try again here.
        stopping = asyncio.create_task(server.stop(grace_seconds + _BACKSTOP_SECONDS))
        await asyncio.sleep(0)
        self._calls.close()
        if await self._calls.are_answered(grace_seconds):
            # A peer that hangs, or whose pings wait behind what it uploads, confirms nothing for long.
            await asyncio.wait({stopping}, timeout=_LINGER_SECONDS)
            await server.stop(None)
        self._calls.cut()
        await stopping

    async def run(self) -> None:
        """Starts, waits for SIGTERM or SIGINT, and stops gracefully.

        Raises:
            Exception: The first failure of what runs in the background; the server has stopped by then.
        """
        asked_to_stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked_to_stop.set)
        limit = raise_limit()
        await self.start()
        log.info("open_files_limit", soft=limit.soft, hard=limit.hard, raised_to=limit.hard)
        try:
            await self._until(asked_to_stop)
        finally:
            await self.stop()

    async def _until(self, asked_to_stop: asyncio.Event) -> None:
        asked = asyncio.create_task(asked_to_stop.wait())
        waiting: set[asyncio.Task[Any]] = {asked, *self._tasks}
        try:
            while asked in waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            asked.cancel()


def server_options(settings: ServerSettings) -> list[tuple[str, int]]:
    """Returns gRPC's options of a server."""

    def milliseconds(seconds: float) -> int:
        return round(seconds * 1000)

    options = [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.so_reuseport", 0),
        # gRPC ends calls that no handler has taken yet, as CANCELLED without a reason: those that have waited
        # for 30 s, and where there are many, from the first number at random and from the second on all. Its
        # own are a tenth of these, which a burst of one client reaches. Waiting costs little: what they send
        # is held back by flow control. (``grpc.max_concurrent_streams`` refuses a burst without a reason.)
        ("grpc.server_max_unrequested_time_in_server", MAX_UNTAKEN_SECONDS),
        ("grpc.server.max_pending_requests", _MAX_UNTAKEN_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", 3 * _MAX_UNTAKEN_CALLS),
        # Peers that are gone without a word lose their calls. gRPC waits for the second of the timeouts.
        ("grpc.keepalive_time_ms", milliseconds(settings.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", milliseconds(settings.keepalive_timeout_seconds)),
        ("grpc.http2.ping_timeout_ms", milliseconds(settings.keepalive_timeout_seconds)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    if settings.max_connection_age_seconds:
        options += [
            ("grpc.max_connection_age_ms", milliseconds(settings.max_connection_age_seconds)),
            ("grpc.max_connection_age_grace_ms", milliseconds(settings.max_connection_age_grace_seconds)),
        ]
    return options


def _write_ready_file(path: Path, ports: dict[str, int]) -> None:
    """Writes the bound ports, whole or not at all."""
    replace_file(path, json.dumps({**ports, "pid": os.getpid()}).encode())
