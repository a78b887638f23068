"""The gRPC server: the extension receives, refuses and sends; tasks of the event loop answer.

A call reaches Python once its request is here as a whole and there is room for it: see
``native/serve/src/front``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial

from lookalike._native import NativeCall, NativeFront
from lookalike.runtime.messages import Messages
from lookalike.runtime.methods import Kind, Method
from lookalike.runtime.settings import ServerSettings

Answer = Callable[[NativeCall, Messages], Coroutine[None, None, None]]
"""Answers one call, from its start to its end; raises nothing."""
_MAX_PROBES = 1_000
_BACKSTOP_SECONDS = 1.0
"""After the grace calls are given this long to end with an error that says why."""
_LINGER_SECONDS = 2.0
"""After the last answer connections are given this long to carry it, and to confirm that no call follows."""


class Front:
    """The calls of one server: which there may be, who answers them, and how they end when it stops.

    Args:
        methods: What it serves.
        settings: Durations and limits.
    """

    def __init__(self, methods: Sequence[Method], settings: ServerSettings) -> None:
        self.methods = tuple(methods)
        self._native = NativeFront(
            [
                (method.path, method.kind, method.streams_requests, method.streams_responses)
                for method in methods
            ],
            max_calls=settings.max_concurrent_rpcs,
            max_streams=settings.max_concurrent_streams,
            max_probes=_MAX_PROBES,
            max_request_bytes=settings.max_request_bytes_in_flight,
            max_message_bytes=settings.max_message_bytes,
            keepalive_seconds=settings.keepalive_seconds,
            keepalive_timeout_seconds=settings.keepalive_timeout_seconds,
            max_connection_age_seconds=settings.max_connection_age_seconds,
            max_connection_age_grace_seconds=settings.max_connection_age_grace_seconds,
            idle_seconds=settings.stream_idle_seconds,
        )
        self._answers: Sequence[Answer] = ()
        self._running: dict[int, tuple[asyncio.Task[None], Messages]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Lock()
        self.closing = asyncio.Event()
        """Set when calls are taken no more; those that never end by themselves end now."""
        self.cut_off = False
        """Whether those that still run are being ended."""

    # What is counted here, and not by those who answer

    def in_progress(self, kind: Kind) -> int:
        """Returns how many calls there are of a kind."""
        return self._native.in_progress(kind)

    def request_bytes(self) -> int:
        """Returns the size of all requests in progress, streams apart."""
        return self._native.request_bytes()

    def refused(self) -> list[tuple[str, str, int]]:
        """Returns how many calls were refused, by their kind and the cause."""
        return self._native.refused()

    def unanswered(self) -> list[tuple[Method, int, int]]:
        """Returns how many calls ended before anyone could answer them, by method and number of the code."""
        return [(self.methods[method], code, count) for method, code, count in self._native.ended()]

    def retried(self) -> list[tuple[Method, int]]:
        """Returns how many calls of a method their clients had sent before."""
        return [(self.methods[method], count) for method, count in self._native.retried()]

    def limiter(self, path: str) -> Limiter:
        """Returns what refuses calls of a method."""
        return Limiter(self._native, path)

    # From start to stop

    def bind(self, address: str, port: int) -> int:
        """Binds a port of one numeric address, and returns it.

        Raises:
            OSError: It cannot be bound.
        """
        return self._native.bind(address, port)

    def start(self, answers: Sequence[Answer]) -> None:
        """Takes calls, in the running event loop.

        Args:
            answers: Of each method in its turn.
        """
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._native.fileno(), self._take)
        self._native.start()

    def _take(self) -> None:
        assert self._loop
        calls, notes = self._native.arrived()
        for call in calls:
            messages = Messages(call)
            task = self._loop.create_task(self._answers[call.method](call, messages))
            self._running[call.number] = task, messages
            task.add_done_callback(partial(self._ended, call.number))
        for number, what, content in notes:
            if running := self._running.get(number):
                task, messages = running
                if what == "cancelled":
                    self._cancel(task)
                else:
                    messages.noted(what, content)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        # A task that is cancelled before its first step never takes one: nobody would end or count its call.
        assert self._loop
        self._loop.call_soon(task.cancel)

    def _ended(self, number: int, _: asyncio.Task[None]) -> None:
        del self._running[number]

    async def stop(self, grace_seconds: float) -> None:
        """Takes no new calls, gives running ones time to end, ends the rest with a reason, frees the port.

        Where it is stopped already, waits until it has.
        """
        self.closing.set()
        self._native.begin_stop()
        async with self._stopping:
            if self._loop:
                await self._end(self._loop, grace_seconds)

    async def _end(self, loop: asyncio.AbstractEventLoop, grace_seconds: float) -> None:
        self._take()
        if not await self._are_answered(grace_seconds):
            self.cut_off = True
            for task, _ in self._running.values():
                self._cancel(task)
            await self._are_answered(_BACKSTOP_SECONDS)
        await asyncio.to_thread(self._native.close, _LINGER_SECONDS)
        loop.remove_reader(self._native.fileno())
        self._loop = None

    async def _are_answered(self, timeout_seconds: float) -> bool:
        """Waits until all calls have ended, for some time at most; returns whether they have."""
        now = asyncio.get_running_loop().time
        end = now() + timeout_seconds
        while self._running and now() < end:
            await asyncio.wait([task for task, _ in self._running.values()], timeout=end - now())
        return not self._running


class Limiter:
    """Refuses calls of one method before they are read, and before Python learns of them.

    Args:
        native: What refuses them.
        path: The method's.
    """

    def __init__(self, native: NativeFront, path: str) -> None:
        self._native = native
        self._path = path

    def limit(self, most: int, message: str, retry_after_seconds: float) -> None:
        """Refuses calls while so many are in progress.

        Args:
            most: Calls that may be in progress.
            message: For those who are refused.
            retry_after_seconds: When they should come back.
        """
        self._native.limit(self._path, most, message, retry_after_seconds)

    def lift(self) -> None:
        """Refuses none any more."""
        self._native.limit(self._path, None, "", 0.0)

    def refused(self) -> int:
        """Returns how many calls it has refused so far."""
        return self._native.limited(self._path)
