"""Whether the gateway can do its work, for its health.

It is ready while the embedder and enough shards answer, and those are the shards that the settings say. A
gateway that is not ready still answers what it can: searches by embedding without the embedder, and partial
ones where the caller's ``min_coverage`` allows them.
"""

from __future__ import annotations

import time

from gateway.fanout import Shards
from gateway.metrics import Telemetry
from gateway.peers import Embedder, Shard
from lookalike.errors import LookalikeError
from lookalike.v1 import hasher_pb2

_FRESH_SECONDS = 0.5


class Readiness:
    """Checks the services that the gateway calls.

    Args:
        embedder: Must answer.
        shards: All of them; their failures here are no failed requests, so these are not counted as such.
        telemetry: Told who is up.
        ready_coverage: Share of the shards that must answer, 0..1.
        timeout_seconds: How long each has to answer.
    """

    def __init__(
        self,
        embedder: Embedder,
        shards: Shards,
        telemetry: Telemetry,
        ready_coverage: float,
        timeout_seconds: float,
    ) -> None:
        self._embedder = embedder
        self._shards = shards
        self._telemetry = telemetry
        self._ready_coverage = ready_coverage
        self._timeout_seconds = timeout_seconds
        self._reason = ""
        self._checked_at = -_FRESH_SECONDS

    async def check(self) -> str:
        """Returns "" when ready, else why not. One answer serves the checks of all services."""
        if time.monotonic() - self._checked_at >= _FRESH_SECONDS:
            self._reason = await self._check_shards() or await self._check_embedder()
            self._checked_at = time.monotonic()
        return self._reason

    async def _check_shards(self) -> str:
        async def describe(_: int, shard: Shard, timeout_seconds: float) -> hasher_pb2.DescribeResponse:
            return await shard.describe(hasher_pb2.DescribeRequest(), timeout_seconds=timeout_seconds)

        outcome = await self._shards.call_all(describe, self._timeout_seconds)
        for number in range(self._shards.count):
            self._telemetry.set_up(f"shard{number}", number in outcome.answers)
        for number, answer in outcome.answers.items():
            if (answer.shard, answer.shard_count) != (number, self._shards.count):
                return (
                    f"hasher {number} says that it is shard {answer.shard} of {answer.shard_count},"
                    f" expected shard {number} of {self._shards.count}"
                )
        enough = outcome.covers(self._ready_coverage)
        return "" if enough else outcome.degraded_reason

    async def _check_embedder(self) -> str:
        try:
            await self._embedder.get_model(timeout_seconds=self._timeout_seconds)
        except LookalikeError as error:
            self._telemetry.set_up("embedder", False)
            return error.message
        self._telemetry.set_up("embedder", True)
        return ""
