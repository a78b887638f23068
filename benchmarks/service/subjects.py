"""What is measured: a server, what it is asked, and how right its answers are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.engine.machine import busy_seconds
from benchmarks.service import generator
from benchmarks.service.accounting import cpu_seconds_of
from benchmarks.service.generator import Found, Load

__all__ = ["Answers", "Measured", "Subject", "Writes", "capacity", "measure", "warm"]

Answers = Sequence[bytes | None]
WARM_SECONDS = 2.0
SETTLE_SECONDS = 0.3
"""Processes of ended connections have ended, too, after this time."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A server and one kind of request.

    Attributes:
        call: The generator's flags for where to send requests.
        processes: Name → id of each process whose CPU counts, with all that it has started.
        requests: The file of the encoded requests.
        recall: Mean share of the right hits in the answers, one for each request; None: they have no hits.
        callers: How many at once find out what the server can answer.
    """

    name: str
    call: Sequence[str]
    processes: Mapping[str, int]
    requests: Path
    recall: Callable[[Answers], float] | None = None
    callers: int = 16


@dataclass(frozen=True, slots=True)
class Writes:
    """Writes that go on meanwhile, at random times."""

    call: Sequence[str]
    requests: Path
    per_second: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One load on one subject.

    Attributes:
        load: Its name, such as ``50 %``.
        asked_per_second: None where requests were sent as fast as answers came.
        cpu_ms: Process → CPU milliseconds for each answered request.
        recall: Of the first answer to each request; None where nothing was to be compared.
        others: Cores that neither the subject nor the generator kept busy, but somebody else.
        writes: What became of the writes that went on meanwhile.
    """

    subject: str
    load: str
    asked_per_second: float | None
    found: Found
    cpu_ms: Mapping[str, float]
    recall: float | None
    others: float
    writes: Found | None = None

    @property
    def total_cpu_ms(self) -> float:
        """CPU milliseconds of all processes for each answered request."""
        return sum(self.cpu_ms.values())


def measure(subject: Subject, name: str, load: Load, folder: Path, writes: Writes | None = None) -> Measured:
    """Sends requests, and compares what it cost with what was answered.

    Args:
        folder: Holds the answers for a moment.
    """
    answers = folder / "answers"
    busy, own, start = busy_seconds(), _own_seconds(), time.perf_counter()
    before = cpu_seconds_of(subject.processes)
    with _meanwhile(writes, load) as written:
        found = generator.run(subject.call, subject.requests, load, answers if subject.recall else None)
    time.sleep(SETTLE_SECONDS)
    spent = {process: after - before[process] for process, after in cpu_seconds_of(subject.processes).items()}
    known = sum(spent.values()) + _own_seconds() - own
    others = (busy_seconds() - busy - known) / (time.perf_counter() - start)
    recall = None
    if subject.recall:
        recall = subject.recall(generator.read_messages(answers)) if found.answered else None
        answers.unlink()
    each = 1e3 / found.answered if found.answered else float("nan")
    cpu_ms = {process: seconds * each for process, seconds in spent.items()}
    return Measured(
        subject.name,
        name,
        load.rate,
        found,
        cpu_ms,
        recall,
        max(others, 0.0),
        written[0] if written else None,
    )


def warm(subject: Subject, seconds: float = WARM_SECONDS) -> None:
    """Sends requests that nobody measures."""
    generator.run(subject.call, subject.requests, Load(seconds, callers=subject.callers))


def capacity(subject: Subject, seconds: float, folder: Path) -> Measured:
    """Warms a subject up, and measures how much it answers when asked as fast as it can answer."""
    warm(subject, min(WARM_SECONDS, seconds))
    return measure(subject, "closed", Load(seconds, callers=subject.callers), folder)


@contextmanager
def _meanwhile(writes: Writes | None, load: Load) -> Iterator[list[Found]]:
    found: list[Found] = []
    if not writes:
        yield found
        return
    written = replace(load, rate=writes.per_second, seed=load.seed + 1)
    process = generator.start(writes.call, writes.requests, written)
    try:
        yield found
        found.append(generator.ended(process, written))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _own_seconds() -> float:
    """CPU time of this process and of generators that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
