"""Bounded concurrency: some requests run, some wait for their turn, the rest are refused at once.

Where a limit adapts, waiting is for bursts only, be it for a slot or for the event loop. Where for
``burst_seconds`` everybody has waited longer than a few requests take, though requests are answered, that is
no burst: more is asked than can be answered. From then on only so many wait that their turn comes soon, those
that have waited longest are refused first, and most are refused before they are read; until nearly all get a
slot.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.deadline import Deadline
from gateway.limit import Limit
from gateway.metrics import Cause, GatewayMetrics, Requests
from lookalike.errors import DeadlineError, OverloadedError

_SMOOTHING = 0.1
_MIN_RETRY_SECONDS = 0.05
_MAX_RETRY_SECONDS = 5.0
_UNUSED_SECONDS = 1.0
_REVIEW_SECONDS = 1.0
_LONGEST_REVIEW_SECONDS = 2 * _REVIEW_SECONDS
_TOLERATED_SHARE = 0.1
"""A wait of this share of the longest burst is none: it comes with a load that varies."""
_BURST_REQUESTS = 4
_MAX_BURST_SECONDS = 2.0
_OVER_SHARE = 0.1
"""The overload goes on while more than this share is refused."""
_EVERY = 4
"""Of so many slots one goes to those who are patient."""
_REFUSAL_SECONDS = 0.1
"""For so long all refusals are the same, which costs less."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A request without a slot, since when, and what gives it one."""

    since: float
    turn: asyncio.Future[None]


class Admission:
    """Lets requests of one kind in, and says when to come back. To be used within one event loop.

    Args:
        what: What is admitted, also for messages.
        limit: How many run at once.
        max_waiting: Requests that may wait for their turn.
        metrics: Where refusals are counted, and slots can be seen.
        burst_seconds: For how long there may be a queue, or four times as long as requests take, up to two
            seconds, if that is more; None: each waits until its deadline.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        what: Requests,
        limit: Limit,
        max_waiting: int,
        metrics: GatewayMetrics,
        burst_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._what = what
        self._limit = limit
        self._max_waiting = max_waiting
        self._metrics = metrics
        self._burst_seconds = burst_seconds
        self._running = 0
        self._queue: deque[_Waiting] = deque()
        self._patient: deque[_Waiting] = deque()
        """Those that may wait until their deadline, however many come meanwhile."""
        self._turns = 0
        self._queue_since = clock()
        """Since when one after another has waited too long, for a slot or for the event loop."""
        self._answered = 0
        """How many have been answered since then."""
        self._is_over = False
        self.refused_unread: Callable[[], int] = lambda: 0
        """Returns how many were refused by whoever follows :attr:`most`."""
        self._refused_unread = 0
        self._reviewed_at = 0.0
        self._admitted = self._refused = 0
        """Since then."""
        self._mean_seconds = 0.0
        self._asked_at = -_UNUSED_SECONDS
        self._retry_seconds = 0.0
        self._retry_until = 0.0
        metrics.watch_slots(
            what,
            running=lambda: self._running,
            waiting=lambda: len(self._queue) + len(self._patient),
            limit=lambda: limit.value,
            is_over=lambda: self.is_over,
        )

    @property
    def is_over(self) -> bool:
        """Whether more is asked than can be answered.

        Where nobody has asked for a while, it is not: who asks next would find that, but may never come.
        """
        return self._is_over and self._clock() - self._reviewed_at <= _LONGEST_REVIEW_SECONDS

    @property
    def is_busy(self) -> bool:
        """Whether requests wait, or half of the slots are taken: no time for what can wait."""
        return bool(self._queue or self._patient) or 2 * self._running >= self._limit.value

    @property
    def is_unused(self) -> bool:
        """Whether nobody has asked for a slot for a while."""
        return self._clock() - self._asked_at > _UNUSED_SECONDS

    @asynccontextmanager
    async def slot(self, deadline: Deadline, *, patient: bool = False) -> AsyncIterator[None]:
        """Waits for a slot and holds it.

        Args:
            deadline: Of the request.
            patient: Waits until the deadline even where others would be refused. At least every fourth slot
                goes to those who do.

        Raises:
            OverloadedError: Too many wait already, or there has been a queue for too long.
            DeadlineError: The deadline passed before the request's turn came.
        """
        # Those that are patient are many of one call, and only the first of them began as the call was taken.
        waited_seconds = 0.0 if patient else deadline.waited_seconds
        self._look(waited_seconds)
        if self._running < self._limit.value and not (self._queue or self._patient):
            self._running += 1
        elif patient:
            await self._turn(self._enter(self._patient), self._patient, deadline)
        else:
            await self._wait(deadline)
        self._admitted += 1
        running, start, done = self._running, self._clock(), False
        try:
            yield
            done = True
        finally:
            seconds = self._clock() - start
            if done:  # What failed says nothing about how long it takes to answer.
                self._answered += 1
                self._limit.ended(
                    seconds + waited_seconds, running, was_reached=self._running >= self._limit.value
                )
            self._mean_seconds += _SMOOTHING * (seconds - self._mean_seconds)
            self._leave()

    @property
    def most(self) -> int:
        """How many may be here: under overload as many as keep the slots full, else all that are."""
        return self._limit.value + self._enough if self.is_over else self._running + len(self._queue)

    def refusal(self) -> tuple[str, float]:
        """Returns what those are told who are refused now: a message, and when to come back, in seconds."""
        return f"too many {self._words} at once", self._retry_after()

    @property
    def _enough(self) -> int:
        """Requests that may wait under an overload: one for each slot, which gets it when that is free."""
        return self._limit.value

    @property
    def _longest_burst(self) -> float | None:
        """Seconds that a queue may last; where requests take long, as long as a few of them do."""
        if self._burst_seconds is None:
            return None
        return max(self._burst_seconds, min(_BURST_REQUESTS * self._mean_seconds, _MAX_BURST_SECONDS))

    def _look(self, waited_seconds: float) -> None:
        """Finds out whether more is asked than can be answered."""
        now, longest = self._clock(), self._longest_burst
        asked_at, self._asked_at = self._asked_at, now
        if longest is None:
            return
        tolerated = _TOLERATED_SHARE * longest
        first = now - self._queue[0].since if self._queue else 0.0
        # Where the one before was taken when this one came, nobody waited in between.
        is_alone = asked_at <= now - waited_seconds
        if first < tolerated and (waited_seconds < tolerated or is_alone):
            # Not when it came: all who came while the event loop stood still are taken now.
            self._begin_queue(now)
        # Where nothing is answered, there is not too much to answer: those who wait may be answered yet.
        is_moving = self._answered >= self._limit.value
        if is_moving and now - self._queue_since > longest:
            if not self._is_over:
                self._is_over = True
                self._begin_review(now)
            self._begin_queue(now)
        if self._is_over:
            self._review(now)

    def _begin_queue(self, now: float) -> None:
        self._queue_since, self._answered = now, 0

    async def _wait(self, deadline: Deadline) -> None:
        if self.is_over:
            while len(self._queue) > self._enough:
                oldest = self._queue.popleft().turn
                if not oldest.done():  # Its caller may have gone a moment ago.
                    oldest.set_exception(self._refusal("stale"))
            if len(self._queue) == self._enough:
                raise self._refusal("full")
        await self._turn(self._enter(self._queue), self._queue, deadline)

    def _enter(self, queue: deque[_Waiting]) -> _Waiting:
        if len(queue) >= self._max_waiting:
            raise self._refusal("full")
        waiting = _Waiting(self._clock(), asyncio.get_running_loop().create_future())
        queue.append(waiting)
        return waiting

    async def _turn(self, waiting: _Waiting, queue: deque[_Waiting], deadline: Deadline) -> None:
        """Waits for its turn; whoever gives it counts the request as running."""
        turn = waiting.turn
        try:
            async with asyncio.timeout(deadline.remaining_seconds()):
                await turn
        except OverloadedError:
            raise
        except (asyncio.CancelledError, TimeoutError) as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave()  # It came at the same moment.
            elif waiting in queue:
                queue.remove(waiting)
            self._metrics.refused(self._what, "late")
            if isinstance(error, asyncio.CancelledError):
                raise
            raise DeadlineError(
                f"the deadline passed while the call waited behind other {self._words}"
            ) from None

    def _leave(self) -> None:
        self._running -= 1
        while (self._queue or self._patient) and self._running < self._limit.value:
            is_theirs = self._patient and (not self._queue or self._turns % _EVERY == 0)
            turn = (self._patient if is_theirs else self._queue).popleft().turn
            if not turn.done():
                self._turns += 1
                self._running += 1
                turn.set_result(None)

    def _begin_review(self, now: float) -> None:
        self._reviewed_at, self._admitted, self._refused = now, 0, 0
        self._refused_unread = self.refused_unread()

    def _review(self, now: float) -> None:
        """Ends the overload once nearly all get a slot."""
        since = now - self._reviewed_at
        if since < _REVIEW_SECONDS:
            return
        refused = self._refused + self.refused_unread() - self._refused_unread
        # For a while nobody may have asked, and so nobody have looked.
        if since > _LONGEST_REVIEW_SECONDS or refused <= _OVER_SHARE * (refused + self._admitted):
            self._is_over, self._queue_since = False, now
        self._begin_review(now)

    def _refusal(self, cause: Cause) -> OverloadedError:
        """Counts a refusal."""
        self._metrics.refused(self._what, cause)
        self._refused += 1
        message, seconds = self.refusal()
        return OverloadedError(message, retry_after_seconds=seconds)

    def _retry_after(self) -> float:
        """Returns when those who wait now should be through; not all should return at the same time."""
        now = self._clock()
        if now >= self._retry_until:
            self._retry_until = now + _REFUSAL_SECONDS
            ahead = (len(self._queue) + 1) * self._mean_seconds / self._limit.value
            seconds = min(max(ahead, _MIN_RETRY_SECONDS), _MAX_RETRY_SECONDS / 2)
            self._retry_seconds = seconds * random.uniform(1, 2)
        return self._retry_seconds

    @property
    def _words(self) -> str:
        return self._what.replace("_", " ")
