"""Runs the gRPC services of one process from start to graceful stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from grpc_health.v1 import health_pb2_grpc

from lookalike.files.disk import replace_file
from lookalike.files.open_files import raise_limit
from lookalike.runtime.answers import Answers, Handlers
from lookalike.runtime.beside import Beside
from lookalike.runtime.front import Answer, Front, Limiter
from lookalike.runtime.health import HealthMonitor, ReadinessCheck
from lookalike.runtime.listen import listen
from lookalike.runtime.methods import Method
from lookalike.runtime.metrics import Metrics, MetricsServer
from lookalike.runtime.process_metrics import ProcessMetrics
from lookalike.runtime.reflection import add_reflection
from lookalike.runtime.settings import ServerSettings
from lookalike.runtime.tracing import exemplar, open_tracing

_HEALTH = "grpc.health.v1.Health"

log = structlog.get_logger()


@dataclass(frozen=True)
class Service:
    """One gRPC service of the process."""

    full_name: str
    """Such as ``lookalike.v1.SearchService``."""
    add_to: Callable[[Any], None]
    """Adds the servicer to what takes the place of grpc's server; see generated code."""
    check_ready: ReadinessCheck
    """Polled each second; drives the service's health."""


class ServerRunner:
    """One gRPC server with health, reflection, metrics and a graceful stop.

    The stop goes: health NOT_SERVING → wait ``drain_wait_seconds`` → send clients elsewhere and give running
    calls ``stop_grace_seconds``, no longer than there are any → end those, too → end ``background`` →
    ``close`` callbacks in order → traces → metrics.

    Args:
        name: The process's name in logs.
        services: What it serves.
        settings: Ports, durations and limits.
        metrics: Served on ``/metrics``.
        background: What runs while the server serves. :meth:`run` ends with the first failure of one.
        close: Called after the last call has ended.
        draining: Set when the stop begins, for long streams that should end by themselves.
        beside: What is served on a port of its own; it stops like the server.
    """

    def __init__(
        self,
        name: str,
        services: Sequence[Service],
        settings: ServerSettings,
        metrics: Metrics,
        *,
        background: Sequence[Callable[[], Coroutine[None, None, None]]] = (),
        close: Sequence[Callable[[], Awaitable[None]]] = (),
        draining: asyncio.Event | None = None,
        beside: Beside | None = None,
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
        self._close = tuple(close)
        self._beside = beside
        self._health = HealthMonitor(
            {service.full_name: service.check_ready for service in services},
            follow=beside.set_serving if beside else None,
        )
        self._handlers = self._all_handlers()
        self._front = Front(self._handlers.methods(), settings)
        self._process_metrics = ProcessMetrics(metrics, name, self._front)
        self._tracing = open_tracing(name, settings)
        if self._tracing:
            metrics.exemplar = exemplar
        self._background = (*background, self._process_metrics.watch_event_loop)
        self._metrics_server: MetricsServer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def _all_handlers(self) -> Handlers:
        handlers = Handlers()
        for service in self._services:
            service.add_to(handlers)
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, handlers)
        add_reflection(handlers, [*(service.full_name for service in self._services), _HEALTH])
        return handlers

    def limiter(self, path: str) -> Limiter:
        """Returns what refuses calls of a method before they are read."""
        return self._front.limiter(path)

    async def start(self) -> None:
        """Binds the ports and serves.

        Raises:
            InvalidInputError: A port cannot be bound (``CONFIG_INVALID``).
        """
        settings = self._settings
        for service in self._services:
            self._process_metrics.serves(Method.all_of(service.full_name))
        self.port = listen(settings.host, settings.port, self._front.bind, exposed=settings.insecure)
        if self._beside:
            self.further_ports = self._beside.start(self._tracing)
        if settings.metrics_port >= 0:
            self._metrics_server = MetricsServer(
                self._metrics, settings.metrics_address, settings.metrics_port, exposed=settings.insecure
            )
            self.metrics_port = self._metrics_server.port
        self._front.start(self._answers())
        await self._health.start()
        self._tasks = [asyncio.create_task(work()) for work in self._background]
        ports = {"port": self.port, **self.further_ports, "metrics_port": self.metrics_port}
        log.info("serving", name=self._name, **ports)
        if settings.ready_file:
            _write_ready_file(settings.ready_file, ports)

    def _answers(self) -> list[Answer]:
        settings = self._settings
        answers = Answers(
            self._front,
            self._process_metrics,
            settings.max_message_bytes,
            settings.stream_idle_seconds,
            self._tracing,
        )
        handlers = self._handlers.by_path
        return [answers.by(handlers[method.path], method) for method in self._front.methods]

    async def stop(self) -> None:
        """Stops gracefully; see the class for the order."""
        log.info("stopping", name=self._name)
        self.draining.set()
        await self._health.stop()
        await asyncio.sleep(self._settings.drain_wait_seconds)
        await asyncio.gather(self._front.stop(self._settings.stop_grace_seconds), self._end_beside())
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


def _write_ready_file(path: Path, ports: dict[str, int]) -> None:
    """Writes the bound ports, whole or not at all."""
    replace_file(path, json.dumps({**ports, "pid": os.getpid()}).encode())
