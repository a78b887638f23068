"""How soon health says what a service has found about itself."""

from __future__ import annotations

import asyncio

from grpc_health.v1 import health_pb2

from lookalike.runtime.health import HealthMonitor


async def test_a_start_that_is_over_is_seen_before_the_usual_poll() -> None:
    reason, said = "loading", asyncio.Event()

    async def check() -> str:
        return reason

    def follow(service: str, serving: bool) -> None:
        if service == "" and serving:
            said.set()

    monitor = HealthMonitor({"some.Service": check}, interval_seconds=600.0, follow=follow)
    await monitor.start()
    assert not said.is_set()
    reason = ""
    async with asyncio.timeout(30):
        await said.wait()
    request = health_pb2.HealthCheckRequest(service="some.Service")
    answer = await monitor.servicer.Check(request, None)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await monitor.stop()
