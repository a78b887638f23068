"""Calling many shards at once, each under its identity, for what is not searched.

Searches go through :mod:`gateway.native_fanout`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Any, TypeVar

from gateway.breaker import Breaker
from gateway.failures import report_failures, report_silence
from gateway.metrics import GatewayMetrics
from gateway.outcome import Outcome, is_callers_mistake
from gateway.peers import Shard, ShardRequest, SilentError, UnreachableError
from lookalike.errors import DeadlineError, LookalikeError
from lookalike.limits import MAX_PARTITION_COUNT
from lookalike.placement import partition_of, shard_of
from lookalike.v1 import hasher_pb2

T = TypeVar("T")
R = TypeVar("R", bound=ShardRequest)

_ROWS = "rows"
_shard_of = lru_cache(maxsize=2 * MAX_PARTITION_COUNT)(shard_of)


class Shards:
    """All shards of the installation.

    Args:
        shards: In the order of their numbers.
        installation_id: Of the installation, which every call names.
        layout_epoch: Of the layout, which every call names.
        metrics: Where calls and failures are counted.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        installation_id: str,
        layout_epoch: int,
        metrics: GatewayMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shards = tuple(shards)
        self._metrics = metrics
        self._clock = clock
        self._targets = [
            hasher_pb2.ShardIdentity(
                installation_id=installation_id,
                shard=number,
                shard_count=self.count,
                layout_epoch=layout_epoch,
            )
            for number in range(self.count)
        ]
        self._breakers = [self._breaker(number) for number in range(self.count)]
        metrics.watch_shards(self.count)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._shards)

    def by_owner(self, item_ids: Sequence[str], partition_count: int) -> dict[int, list[int]]:
        """Returns shard → the indices of the items that it holds, in their order."""
        owners: dict[int, list[int]] = {}
        for index, item_id in enumerate(item_ids):
            owner = _shard_of(partition_of(item_id, partition_count), self.count)
            owners.setdefault(owner, []).append(index)
        return owners

    def for_all(self, request: R) -> dict[int, R]:
        """Returns a copy of a request for each shard."""
        return {number: deepcopy(request) for number in range(self.count)}

    async def ask(
        self,
        method: Callable[..., Awaitable[T]],
        requests: Mapping[int, R],
        timeout_seconds: float,
        *,
        probe: bool = False,
        aside: str = "",
    ) -> Outcome[T]:
        """Calls shards in parallel, and waits for all of them.

        Args:
            method: Of :class:`gateway.peers.Shard`.
            requests: Shard → what to ask it for, without ``target``, which is filled in here.
            timeout_seconds: For all calls; later answers count as failures.
            probe: Asks shards that do not answer calls, too, and counts no failures.
            aside: Names calls that nobody waits for: they are timed under this name, and count no failures.

        Raises:
            LookalikeError: A shard says that the request itself is wrong; the others are not waited for.
        """
        outcome: Outcome[T] = Outcome()
        sent_at = self._clock()
        calls: dict[asyncio.Task[T], int] = {}
        for number, request in requests.items():
            if self._breakers[number].is_open and not probe:
                outcome.failures[number] = SilentError("the shard has stopped answering")
                continue
            request.target.CopyFrom(self._targets[number])
            call = asyncio.ensure_future(self._timed(method, number, request, timeout_seconds, aside))
            self._breakers[number].watch(call)
            calls[call] = number
        try:
            late = await self._collect(calls, outcome, timeout_seconds)
        finally:
            for call in calls:
                call.add_done_callback(_forget)
                call.cancel()
        for number in map(calls.__getitem__, late):
            outcome.failures[number] = DeadlineError("the shard did not answer in time")
            self._breakers[number].unanswered(sent_at)
        if not (probe or aside):
            report_failures(outcome.failures, self._metrics)
        return outcome

    async def _timed(
        self,
        method: Callable[..., Awaitable[T]],
        number: int,
        request: ShardRequest,
        timeout_seconds: float,
        aside: str,
    ) -> T:
        """Calls one shard, and lets its breaker learn from that."""
        sent_at = self._clock()
        # `method` is the protocol's; the shard has its own.
        call: Callable[..., Awaitable[T]] = getattr(self._shards[number], method.__name__)
        try:
            answer = await call(request, timeout_seconds=timeout_seconds)
        except (DeadlineError, asyncio.CancelledError) as error:
            # At least so long.
            self._metrics.shard_took(aside or method.__name__, number, self._clock() - sent_at)
            if isinstance(error, DeadlineError):
                self._breakers[number].unanswered(sent_at)
            raise
        except UnreachableError:
            raise
        except LookalikeError:
            self._breakers[number].answered()
            raise
        self._breakers[number].answered()
        self._metrics.shard_took(aside or method.__name__, number, self._clock() - sent_at)
        return answer

    async def _collect(
        self, calls: Mapping[asyncio.Task[T], int], outcome: Outcome[T], timeout_seconds: float
    ) -> Collection[asyncio.Task[T]]:
        """Waits, and returns the calls that were given up."""
        pending = set(calls)
        end = self._clock() + timeout_seconds
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=max(end - self._clock(), 0), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            for call in done:
                self._take(call, calls[call], outcome)
        return pending

    def _take(self, call: asyncio.Task[T], number: int, outcome: Outcome[T]) -> None:
        if call.cancelled():
            outcome.failures[number] = SilentError("the shard has stopped answering")
            return
        error = call.exception()
        if error is None:
            outcome.answers[number] = call.result()
        elif isinstance(error, LookalikeError) and not is_callers_mistake(error):
            outcome.failures[number] = error
        else:
            raise error

    def _breaker(self, number: int) -> Breaker:
        return Breaker(self._clock, lambda is_open: report_silence(number, _ROWS, is_open, self._metrics))


def _forget(call: asyncio.Task[Any]) -> None:
    """Keeps asyncio from reporting the error of a call that nobody waits for any more."""
    if not call.cancelled():
        call.exception()
