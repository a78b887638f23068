"""What clients do to a process that may go away at any moment, and what it owes them then."""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc

GONE = "gone"
"""The state of what was deleted or never made."""
SECONDS = 60.0
_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)
"""Codes of calls whose answer was lost with the process."""


class StartError(Exception):
    """A process did not start."""


class Load(ABC):
    """Calls of several clients, and the states that follow from the answered ones, by the name of a thing.

    Attributes:
        acknowledged: Calls that were answered.
        first_calls: Made once, before all others.
    """

    first_calls: tuple[Any, ...] = ()

    def __init__(self, seed: int) -> None:
        self.acknowledged = 0
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._number = 0
        self._states: dict[str, str] = {}
        self._unanswered: list[Any] = list(self.first_calls)
        self._channels: list[grpc.Channel] = []

    @abstractmethod
    def command(self, disk: Path) -> list[str]:
        """Returns the module of the process and its flags."""

    @abstractmethod
    def open(self, channel: grpc.Channel, searches: grpc.Channel) -> None:
        """Turns to a process that has been started, and waits until it answers."""

    @abstractmethod
    def random_call(self, client: int, rng: random.Random) -> Any:
        """Returns a call that changes something of a client's own things."""

    @abstractmethod
    def send(self, call: Any) -> dict[str, str]:
        """Makes a call and returns the states that its answer promises."""

    def send_again(self, call: Any) -> dict[str, str]:
        """Makes a call whose answer was lost, which may have been done, and returns what is promised now."""
        return self.send(call)

    @abstractmethod
    def states_after(self, call: Any) -> dict[str, str]:
        """Returns the states that a call leads to."""

    @abstractmethod
    def found(self) -> dict[str, str]:
        """Returns the states of all that is there."""

    def wrong(self, found: dict[str, str]) -> list[str]:
        """Returns where what is there does not fit together."""
        return []

    def number(self) -> int:
        """Returns a number never returned before."""
        with self._lock:
            self._number += 1
            return self._number

    def connect(self, port: int, search_port: int = 0) -> None:
        """Turns to a process that has been started.

        Args:
            port: Its own.
            search_port: A hasher's.

        Raises:
            StartError: It has ended.
        """
        for channel in self._channels:
            channel.close()
        self._channels = [grpc.insecure_channel(f"127.0.0.1:{one}") for one in (port, search_port or port)]
        try:
            self.open(*self._channels)
        except grpc.RpcError as error:
            raise StartError(f"the process has ended at its start: {error}") from error
        if not self._states:
            self.retry()

    def retry(self) -> None:
        """Repeats the calls that were not answered, until they are."""
        calls, self._unanswered = self._unanswered, []
        for call in calls:
            assert self._call(call, self.send_again), "the process went away although nothing killed it"

    def clients(self, count: int) -> list[Callable[[], None]]:
        """Returns clients, each a function that makes calls until the process is gone."""

        def work(client: int, rng: random.Random) -> None:
            while self._call(self.random_call(client, rng), self.send):
                pass

        return [partial(work, client, random.Random(self._rng.random())) for client in range(count)]

    def _call(self, call: Any, send: Callable[[Any], dict[str, str]]) -> bool:
        try:
            states = send(call)
        except grpc.RpcError as error:
            if error.code() not in _LOST:
                raise
            with self._lock:
                self._unanswered.append(call)
            return False
        with self._lock:
            self._states.update(states)
            self.acknowledged += 1
        return True

    def lost(self) -> list[str]:
        """Returns what was acknowledged and is not there; from now on what is there is what is expected."""
        found = self.found()
        possible: defaultdict[str, list[str]] = defaultdict(list)
        for call in self._unanswered:
            for name, state in self.states_after(call).items():
                possible[name].append(state)
        lost = []
        for name in sorted(self._states.keys() | found.keys()):
            expected, is_ = self._states.get(name, GONE), found.get(name, GONE)
            if is_ != expected and not any(is_.startswith(state) for state in possible[name]):
                lost.append(f"{name} was acknowledged as {expected} and is {is_}")
        self._states = found
        if lost:
            self.start_over()
        return lost + self.wrong(found)

    def start_over(self) -> None:
        """Makes it possible to go on after a loss."""
        self._unanswered = [] if self._states else list(self.first_calls)
