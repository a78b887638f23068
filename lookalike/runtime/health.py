"""``grpc.health.v1`` that follows real readiness, service by service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from grpc_health.v1 import health, health_pb2

ReadinessCheck = Callable[[], Awaitable[str]]
"""Returns "" when ready, else a few words that say why not."""

LIVENESS = "liveness"
"""A name of no service: SERVING as long as the process answers, whatever it has to do and has lost."""

_STARTING_SECONDS = 0.1
"""Between two polls at most, until everything has been ready once: somebody waits for that."""
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
log = structlog.get_logger()


class HealthMonitor:
    """Polls readiness checks and keeps a health servicer up to date.

    The overall status (the empty service name) is SERVING when every service is. :data:`LIVENESS` is for what
    restarts processes that hang: a restart helps against nothing else that the checks look at.

    Args:
        checks: Full service name → its readiness check.
        interval_seconds: Time between two polls, once everything has been ready; until then a tenth of a
            second at most.
        follow: Learns whether a service is SERVING, too.
    """

    def __init__(
        self,
        checks: Mapping[str, ReadinessCheck],
        interval_seconds: float = 1.0,
        follow: Callable[[str, bool], None] | None = None,
    ) -> None:
        self.servicer = health.aio.HealthServicer()
        self._checks = dict(checks)
        self._interval_seconds = interval_seconds
        self._follow = follow
        self._reasons: dict[str, str] = {}
        self._was_ready = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Polls once, then goes on in the background."""
        await self._set(LIVENESS, True)
        await self._poll()
        self._task = asyncio.create_task(self._run(), name="health-monitor")

    async def stop(self) -> None:
        """Sets every service to NOT_SERVING for good."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.servicer.enter_graceful_shutdown()
        if self._follow:
            for service in (*self._checks, "", LIVENESS):
                self._follow(service, False)

    async def _set(self, service: str, serving: bool) -> None:
        await self.servicer.set(service, _SERVING if serving else _NOT_SERVING)
        if self._follow:
            self._follow(service, serving)

    async def _run(self) -> None:
        while True:
            most = self._interval_seconds if self._was_ready else _STARTING_SECONDS
            await asyncio.sleep(min(most, self._interval_seconds))
            await self._poll()

    async def _poll(self) -> None:
        ready = True
        for service, check in self._checks.items():
            try:
                reason = await check()
            except Exception:
                log.exception("readiness_check_failed", checked=service)
                reason = "the readiness check failed"
            ready = ready and not reason
            await self._publish(service, reason)
        self._was_ready |= ready
        await self._set("", ready)

    async def _publish(self, service: str, reason: str) -> None:
        if self._reasons.get(service) == reason:
            return
        self._reasons[service] = reason
        await self._set(service, not reason)
        if reason:
            log.warning("not_ready", checked=service, reason=reason)
        else:
            log.info("ready", checked=service)
