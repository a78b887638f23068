"""Whether the gateway can do its work, service by service, for its health.

Searches and items need enough shards that answer and have all the data that the directory knows of; searches
need their search ports to answer, too. The embedder is needed for photos alone, so losing it takes no service
away; nor does a shard that takes no writes, which still answers what is read. Both show in the metrics.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from gateway.directory.base import Directory, State
from gateway.fanout import Shards
from gateway.metrics import GatewayMetrics
from gateway.outcome import covers, words_of
from gateway.peers import Embedder, SearchPorts, Shard
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
        search_ports: Theirs.
        metrics: Where it shows who is up.
        ready_coverage: Share of the shards that must be in order, 0..1.
        timeout_seconds: How long each has to answer.
    """

    def __init__(
        self,
        directory: Directory,
        embedder: Embedder,
        shards: Shards,
        search_ports: SearchPorts,
        metrics: GatewayMetrics,
        *,
        ready_coverage: float,
        timeout_seconds: float,
    ) -> None:
        self._directory = directory
        self._embedder = embedder
        self._shards = shards
        self._search_ports = search_ports
        self._metrics = metrics
        self._ready_coverage = ready_coverage
        self._timeout_seconds = timeout_seconds
        self._problems: dict[int, str] = {}
        """Shard → why it cannot do its part."""
        self._unsearchable: dict[int, str] = {}
        """Shard → why its searches are not answered."""
        self._checked_at = -_FRESH_SECONDS
        self._noted: list[set[tuple[str, str]]] = [set() for _ in range(shards.count)]
        self._embedder_problem = ""

    async def items(self) -> str:
        """Returns "" when items can be read, else why not."""
        await self._check()
        return self._reason(self._problems)

    async def searches(self) -> str:
        """Returns "" when searches can be answered, else why not."""
        await self._check()
        return self._reason({**self._unsearchable, **self._problems})

    async def directory(self) -> str:
        """Returns "" when collections and aliases can be changed, else why not."""
        return await asyncio.to_thread(lambda: self._directory.failure)

    def _reason(self, problems: Mapping[int, str]) -> str:
        total = self._shards.count
        if covers(total - len(problems), total, self._ready_coverage):
            return ""
        return "; ".join(f"shard {number}: {problem}" for number, problem in sorted(problems.items()))

    async def _check(self) -> None:
        """Checks everything, unless this was just done: one check serves those of several services."""
        if time.monotonic() - self._checked_at < _FRESH_SECONDS:
            return
        self._problems, self._unsearchable, _ = await asyncio.gather(
            self._check_shards(), self._check_search_ports(), self._check_embedder()
        )
        for number in range(self._shards.count):
            is_up = number not in self._problems and number not in self._unsearchable
            self._metrics.checked(f"shard{number}", is_up)
        self._checked_at = time.monotonic()

    async def _check_search_ports(self) -> dict[int, str]:
        failures = await self._search_ports.failures(timeout_seconds=self._timeout_seconds)
        return {number: f"search port {words_of(error)}" for number, error in failures.items()}

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
