"""Whether the gateway can do its work, service by service, for its health.

Searches and items need enough shards that answer and have all the data that the directory knows of. The
embedder is needed for photos alone, so losing it takes no service away; nor does a shard that takes no
writes, which still answers what is read. Both show in the metrics.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import structlog

from gateway.directory.base import Directory, State
from gateway.fanout import Shards
from gateway.metrics import GatewayMetrics
from gateway.outcome import covers, words_of
from gateway.peers import Embedder, Shard
from lookalike.errors import LookalikeError
from lookalike.v1 import hasher_pb2

_FRESH_SECONDS = 0.5
log = structlog.get_logger()


@dataclass(frozen=True)
class _Generations:
    """Those that the directory knew of both before and after the shards were asked, and at either time."""

    ready: frozenset[str]
    known: frozenset[str]


class Readiness:
    """Checks the services that the gateway calls.

    Args:
        directory: Which data the shards should have.
        embedder: For photos.
        shards: All of them; the checks are what shards that stopped answering are probed by.
        metrics: Where it shows who is up.
        ready_coverage: Share of the shards that must be in order, 0..1.
        timeout_seconds: How long each has to answer.
    """

    def __init__(
        self,
        directory: Directory,
        embedder: Embedder,
        shards: Shards,
        metrics: GatewayMetrics,
        *,
        ready_coverage: float,
        timeout_seconds: float,
    ) -> None:
        self._directory = directory
        self._embedder = embedder
        self._shards = shards
        self._metrics = metrics
        self._ready_coverage = ready_coverage
        self._timeout_seconds = timeout_seconds
        self._problems: dict[int, str] = {}
        """Shard → why it cannot do its part."""
        self._checked_at = -_FRESH_SECONDS
        self._noted: list[set[tuple[str, str]]] = [set() for _ in range(shards.count)]
        self._embedder_problem = ""

    async def shards(self) -> str:
        """Returns "" when searches can be answered and items read, else why not."""
        if time.monotonic() - self._checked_at >= _FRESH_SECONDS:
            # One check serves those of several services.
            self._problems, _ = await asyncio.gather(self._check_shards(), self._check_embedder())
            self._checked_at = time.monotonic()
        total = self._shards.count
        if covers(total - len(self._problems), total, self._ready_coverage):
            return ""
        return "; ".join(f"shard {number}: {problem}" for number, problem in sorted(self._problems.items()))

    async def directory(self) -> str:
        """Returns "" when collections and aliases can be changed, else why not."""
        return await asyncio.to_thread(lambda: self._directory.failure)

    async def _check_shards(self) -> dict[int, str]:
        known, ready = self._recorded()
        requests = self._shards.for_all(hasher_pb2.DescribeRequest())
        outcome = await self._shards.ask(Shard.describe, requests, self._timeout_seconds, probe=True)
        # What is created or deleted meanwhile is neither missing nor an orphan.
        known_now, ready_now = self._recorded()
        generations = _Generations(ready & ready_now, known | known_now)
        problems = {number: words_of(error) for number, error in outcome.failures.items()}
        for number, answer in outcome.answers.items():
            problem = self._problem_of(number, answer, generations)
            if problem:
                problems[number] = problem
        for number in range(self._shards.count):
            self._metrics.checked(f"shard{number}", number not in problems)
        return problems

    def _recorded(self) -> tuple[frozenset[str], frozenset[str]]:
        collections = self._directory.collections()
        return (
            frozenset(collection.generation for collection in collections),
            frozenset(c.generation for c in collections if c.state is State.READY),
        )

    def _problem_of(self, number: int, answer: hasher_pb2.DescribeResponse, generations: _Generations) -> str:
        """Returns why a shard that answers cannot do its part; empty: it can."""
        held = {info.generation for info in answer.generations}
        missing, orphaned = generations.ready - held, held - generations.known
        failed = {info.generation for info in answer.generations if info.failure}
        self._metrics.found_generations(
            number, missing=len(missing), orphaned=len(orphaned), failed=len(failed)
        )
        noted = {("generation_missing", generation) for generation in missing}
        noted |= {("generation_without_collection", generation) for generation in orphaned}
        noted |= {("generation_takes_no_writes", generation) for generation in failed}
        for event, generation in noted - self._noted[number]:
            log.warning(event, shard=number, generation=generation)
        self._noted[number] = noted
        return "its data is missing" if missing else ""

    async def _check_embedder(self) -> None:
        problem = ""
        try:
            await self._embedder.get_model(timeout_seconds=self._timeout_seconds)
        except LookalikeError as error:
            problem = error.message
        self._metrics.checked("embedder", not problem)
        if problem and not self._embedder_problem:
            log.warning("embedder_unavailable", reason=problem)
        self._embedder_problem = problem
