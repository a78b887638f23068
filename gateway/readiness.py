"""Whether the gateway can do its work, for its health.

It becomes ready once the embedder and every shard have answered, and the shards are those that the settings
say. From then on it stays ready while any shard answers: a lost shard or embedder shows in answers
(``Coverage``, UNAVAILABLE) and in ``lookalike_gateway_dependency_up``, and must not take every gateway out of
service at once.
"""

from __future__ import annotations

import time

from gateway.fanout import Shards
from gateway.ports import Embedder, Shard
from gateway.telemetry import Telemetry
from lookalike.errors import LookalikeError
from lookalike.v1 import hasher_pb2

_FRESH_SECONDS = 0.5


class Readiness:
    """Checks the services that the gateway calls.

    Args:
        embedder: Needed for a first start.
        shards: All of them; not those that count failures of requests.
        telemetry: Told who is up.
        timeout_seconds: How long each has to answer.
    """

    def __init__(
        self, embedder: Embedder, shards: Shards, telemetry: Telemetry, timeout_seconds: float
    ) -> None:
        self._embedder = embedder
        self._shards = shards
        self._telemetry = telemetry
        self._timeout_seconds = timeout_seconds
        self._was_ready = False
        self._reason = ""
        self._checked_at = -_FRESH_SECONDS

    async def check(self) -> str:
        """Returns "" when ready, else why not. One answer serves the checks of all services."""
        if time.monotonic() - self._checked_at >= _FRESH_SECONDS:
            self._reason = await self._check()
            self._checked_at = time.monotonic()
        return self._reason

    async def _check(self) -> str:
        async def describe(_: int, shard: Shard, timeout_seconds: float) -> hasher_pb2.DescribeResponse:
            return await shard.describe(hasher_pb2.DescribeRequest(), timeout_seconds=timeout_seconds)

        embedder_problem = await self._check_embedder()
        outcome = await self._shards.call_all(describe, self._timeout_seconds)
        for number in range(self._shards.count):
            self._telemetry.set_up(f"shard{number}", number in outcome.answers)
        for number, answer in outcome.answers.items():
            if (answer.shard, answer.shard_count) != (number, self._shards.count):
                return (
                    f"hasher {number} says that it is shard {answer.shard} of {answer.shard_count},"
                    f" expected shard {number} of {self._shards.count}"
                )
        if self._was_ready and outcome.answers:
            return ""
        problems = "; ".join(filter(None, (embedder_problem, outcome.degraded_reason)))
        self._was_ready = self._was_ready or not problems
        return problems

    async def _check_embedder(self) -> str:
        try:
            await self._embedder.get_model(timeout_seconds=self._timeout_seconds)
        except LookalikeError as error:
            self._telemetry.set_up("embedder", False)
            return error.message
        self._telemetry.set_up("embedder", True)
        return ""
