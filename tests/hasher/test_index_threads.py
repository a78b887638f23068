from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from hasher.index import NO_ID, HashIndex


def random_vectors(n: int, dim: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


@pytest.fixture
def no_preemption() -> Iterator[None]:
    """A Python thread gets the interpreter only when another one gives it up."""
    previous = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    yield
    sys.setswitchinterval(previous)


@pytest.mark.usefixtures("no_preemption")
@pytest.mark.parametrize("call", ["search", "build", "add", "save", "open"])
def test_the_gil_is_released(call: str, tmp_path: Path) -> None:
    """Another Python thread runs while a native call does."""
    vectors, ids = random_vectors(12_000, 64, 0), np.arange(12_000, dtype=np.uint64)
    index = HashIndex.build(vectors, ids)
    index.save(tmp_path)
    calls: dict[str, Callable[[], object]] = {
        "search": lambda: index.search(vectors[:100], 10, exact=True),
        "build": lambda: HashIndex.build(vectors, ids, threads=1),
        "add": lambda: index.add(vectors, ids + np.uint64(20_000)),
        "save": lambda: index.save(tmp_path),
        "open": lambda: HashIndex.open(tmp_path),
    }

    def seen_by_other_thread() -> str:
        gate, phase, seen = threading.Semaphore(0), "before", []

        def observe() -> None:
            gate.acquire()
            seen.append(phase)

        observer = threading.Thread(target=observe)
        observer.start()
        gate.release()
        phase = "during"
        calls[call]()
        phase = "after"
        observer.join()
        return seen[0]

    # The operating system may wake the observer late, so a few attempts are fair; a held GIL fails all.
    assert "during" in (seen_by_other_thread() for _ in range(10))


class SignalError(Exception):
    pass


def test_a_signal_ends_a_build() -> None:
    """The handler runs several times within one build, and what it raises at last ends it."""
    vectors, ids = random_vectors(40_000, 128, 0), np.arange(40_000, dtype=np.uint64)
    handled, over = threading.Semaphore(0), threading.Event()
    times = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal times
        during = frame is not None and frame.f_code is HashIndex.build.__func__.__code__
        times += during
        handled.release()
        if during and times == 4:
            raise SignalError

    def send() -> None:
        while times < 4 and not over.is_set():
            os.kill(os.getpid(), signal.SIGUSR1)
            handled.acquire(timeout=60)

    previous = signal.signal(signal.SIGUSR1, handle)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(SignalError):
            HashIndex.build(vectors, ids, threads=1)
    finally:
        over.set()
        handled.release()
        sender.join()
        signal.signal(signal.SIGUSR1, previous)
    # The pool that it worked on works on.
    assert len(HashIndex.build(vectors[:500], ids[:500], threads=1)) == 500


def test_searches_run_during_adds_and_removes() -> None:
    dim, stable, moving = 32, 400, 1500
    vectors = random_vectors(stable + moving, dim, 1)
    ids = np.arange(stable + moving, dtype=np.uint64)
    index = HashIndex.build(vectors[:stable], ids[:stable])
    stop, failures, searches = threading.Event(), [], [0, 0]

    def read(which: int) -> None:
        rng = np.random.default_rng(which)
        while not stop.is_set():
            picked = rng.choice(stable, 8, replace=False)
            result = index.search_detailed(vectors[picked], 5)
            if (result.ids[:, 0] != ids[picked]).any():
                failures.append("a stable item was not found")
            known = result.ids[result.ids != NO_ID]
            if (known >= stable + moving).any() or (np.diff(result.scores, axis=1) > 0).any():
                failures.append("a result is not possible")
            searches[which] += 1

    readers = [threading.Thread(target=read, args=(i,)) for i in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(2):
            for start in range(stable, stable + moving, 100):
                index.add(vectors[start : start + 100], ids[start : start + 100])
            for start in range(stable, stable + moving, 300):
                index.remove(ids[start : start + 300])
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert failures == []
    assert min(searches) > 0
    assert len(index) == stable
