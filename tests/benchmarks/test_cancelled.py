"""The benchmark of cancelled searches: what it sees of threads and calls, not how soon they end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks import cancelled
from benchmarks.cancelled import Caller, Cancelled, Look, Row, Threads, table


@contextmanager
def searching() -> Iterator[threading.Event]:
    """A thread of this process with the name of one that searches; the event makes it rest."""
    rest, end, named = threading.Event(), threading.Event(), threading.Event()

    def run() -> None:
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text("search")
        named.set()
        while not rest.is_set():
            pass
        end.wait()

    thread = threading.Thread(target=run)
    thread.start()
    named.wait()
    try:
        yield rest
    finally:
        rest.set()
        end.set()
        thread.join()


def test_a_process_without_threads_that_search_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no thread of the shard is named search or search-long"):
        Threads(os.getpid())


def test_a_thread_that_runs_is_seen_and_one_that_rests_is_not() -> None:
    with searching() as rest:
        threads = Threads(os.getpid())
        before = threads.look()
        while not ((now := threads.look()).running and now.cpu > before.cpu):
            time.sleep(0.001)
        rest.set()
        while threads.look().running:
            time.sleep(0.001)
        still = threads.look()
        assert threads.look() == still
        assert still.cpu >= now.cpu


class Call:
    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def code(self) -> grpc.StatusCode:
        return self._code

    def result(self) -> bytes:
        if self._code != grpc.StatusCode.OK:
            raise grpc.RpcError
        return b""


class Calls:
    """A caller whose searches end as they are told to."""

    def __init__(self, *codes: grpc.StatusCode) -> None:
        self.calls = [Call(code) for code in codes]
        self._left = iter(self.calls)

    def start(self) -> Any:
        return next(self._left)


class Course:
    """Looks: so many milliseconds of CPU, running until the last."""

    def __init__(self, *cpu: float) -> None:
        self._cpu = list(cpu)

    def look(self) -> Look:
        cpu = self._cpu.pop(0) if len(self._cpu) > 1 else self._cpu[0]
        return Look(len(self._cpu) > 1, cpu, 2 * cpu)


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelled, "QUIET_SECONDS", 0.01)


def test_what_threads_did_after_the_cancellation_is_counted_from_the_last_look_before_it() -> None:
    caller, threads = Calls(grpc.StatusCode.CANCELLED), Course(5.0, 6.0, 8.0, 8.0)
    found = cancelled.cancelled(caller, threads, 5.0)  # type: ignore[arg-type]
    assert found
    assert caller.calls[0].cancelled
    assert (found.cpu, found.waited) == (3.0, 6.0)
    assert found.after >= 0.2 * 5.0
    assert found.ran > 0


def test_a_search_that_ended_before_is_none() -> None:
    assert cancelled.cancelled(Calls(grpc.StatusCode.OK), Course(5.0), 1.0) is None  # type: ignore[arg-type]


def test_a_shard_that_was_away_is_asked_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [grpc.StatusCode.UNAVAILABLE] * 2 + [grpc.StatusCode.OK]
    calls = Calls(*codes)
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        caller = Caller(channel, "/a/b", [b""])
        monkeypatch.setattr(caller, "start", calls.start)
        caller.until_answered()
        with pytest.raises(StopIteration):
            calls.start()
        monkeypatch.setattr(cancelled, "MOST_SECONDS", 0.0)
        monkeypatch.setattr(caller, "start", Calls(*codes).start)
        with pytest.raises(grpc.RpcError):
            caller.until_answered()


def test_the_table_counts_what_ended_in_time() -> None:
    row = Row("shard", 40.0, 20.0, [Cancelled(10.0, ran, 1.0, 0.5) for ran in (2.0, 10.0, 30.0)], 4)
    last = table([row]).splitlines()[-1]
    assert last == ("| shard | 40.0 | 20.0 | 10.0 | 10.00 | 30.00 | 2 of 3 | 1.00 | 1.00 | 0.50 | 0.50 | 4 |")
