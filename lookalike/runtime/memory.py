"""How much memory a process may use, how much it does, and whether that is too much to take items in.

What counts is what the kernel cannot take back: the memory of the process itself, not the pages of files.
When a control group runs out of it, the kernel kills; so whoever feeds a service is refused before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from lookalike.errors import OverloadedError, Reason
from lookalike.runtime.cgroups import CGROUPS, OWN_GROUPS, Group, groups, lines
from lookalike.runtime.metrics import Metrics, Read, Value

_RECOVERED_SHARE = 0.05
"""So far below its bound memory counts as free again; less would let that come and go."""
_FRESH_SECONDS = 0.2
"""Within it a service that takes 20,000 items a second grows by some ten MiB."""
_RETRY_SECONDS = 5.0
_PROCESS = Path("/proc/self/status")
_MACHINE = Path("/proc/meminfo")
_READ = (
    Read(
        "lookalike_memory_used_bytes",
        "Memory in use that the kernel cannot take back: of the process, or of its control group where that"
        " is nearer to its limit.",
    ),
    Read(
        "lookalike_memory_limit_bytes", "Memory that may be in use before the kernel kills, or the setting."
    ),
    Read(
        "lookalike_memory_reserved_bytes",
        "Memory that is kept free of items: a share of the limit, or what rebuilding an index takes.",
    ),
    Read("lookalike_memory_full", "1 while new items are refused for lack of memory, else 0."),
    Read(
        "lookalike_memory_refused_writes_total",
        "Writes of items that were refused for lack of memory.",
        type="counter",
    ),
)
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory in use, of what may be."""

    used_bytes: int
    limit_bytes: int

    @property
    def share(self) -> float:
        """Of the limit that is used."""
        return self.used_bytes / self.limit_bytes


@dataclass(frozen=True)
class Sources:
    """Where the kernel says what is in use, and what may be."""

    process: Path = _PROCESS
    machine: Path = _MACHINE
    cgroups: Path = CGROUPS
    own_groups: Path = OWN_GROUPS

    def usage(self, max_bytes: int = 0) -> Usage:
        """Returns what is nearest to its limit: the process to its own, or a control group to that.

        Args:
            max_bytes: What the process may use; 0: all that its groups allow, or that the machine has.
        """
        own = _kilobytes(self.process, "RssAnon") + _kilobytes(self.process, "RssShmem")
        limited = [Usage(own, max_bytes)] if max_bytes else []
        limited += filter(None, map(_usage_of, groups("memory", self.cgroups, self.own_groups)))
        # Where nothing else bounds it, the machine does.
        return max(limited, key=lambda one: one.share, default=Usage(own, self._machine_bytes()))

    def _machine_bytes(self) -> int:
        return _kilobytes(self.machine, "MemTotal") or 1 << 50


class MemoryWatch:
    """Says when there is too little memory left for more items. May be used from any thread.

    Args:
        metrics: Where it shows what is in use.
        max_bytes: What the process may use; 0: all that its control groups allow, or that the machine has.
        share: Of that, what items may fill.
        needed_bytes: Returns what the work that items lead to takes beyond them for a while.
        sources: Where the kernel says what is in use.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        metrics: Metrics,
        max_bytes: int = 0,
        share: float = 0.85,
        needed_bytes: Callable[[], int] = lambda: 0,
        sources: Sources | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._share = share
        self._needed_bytes = needed_bytes
        self._sources = sources or Sources()
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = -_FRESH_SECONDS
        self._usage = Usage(0, 1)
        self._reserved_bytes = 0
        self._is_full = False
        self._refused = 0
        metrics.read(_READ, self._values)

    def check(self, whose: str) -> None:
        """Makes sure that there is memory for more items.

        Args:
            whose: The process, for the message.

        Raises:
            OverloadedError: There is not (``MEMORY_FULL``).
        """
        if not self.is_full():
            return
        with self._lock:
            self._refused += 1
        raise memory_full(f"the memory of {whose} is full: it takes no new items until some are deleted")

    def is_full(self) -> bool:
        """Whether no more items should be taken in; what was found counts for a moment."""
        with self._lock:
            now = self._clock()
            if now - self._looked_at >= _FRESH_SECONDS:
                self._looked_at = now
                self._look()
            return self._is_full

    def _look(self) -> None:
        self._usage = usage = self._sources.usage(self._max_bytes)
        least = round((1 - self._share) * usage.limit_bytes)
        self._reserved_bytes = max(least, self._needed_bytes())
        bound = usage.limit_bytes - self._reserved_bytes
        if self._is_full:
            bound -= round(_RECOVERED_SHARE * usage.limit_bytes)
        is_full = usage.used_bytes > bound
        if is_full is not self._is_full:
            self._is_full = is_full
            note = log.error if is_full else log.info
            note(
                "memory_full" if is_full else "memory_free_again",
                used_bytes=usage.used_bytes,
                limit_bytes=usage.limit_bytes,
                reserved_bytes=self._reserved_bytes,
            )

    def _values(self) -> Iterator[Value]:
        is_full = self.is_full()
        yield "lookalike_memory_used_bytes", (), self._usage.used_bytes
        yield "lookalike_memory_limit_bytes", (), self._usage.limit_bytes
        yield "lookalike_memory_reserved_bytes", (), self._reserved_bytes
        yield "lookalike_memory_full", (), is_full
        yield "lookalike_memory_refused_writes_total", (), self._refused


def memory_full(message: str) -> OverloadedError:
    """Returns the error of a process that has no memory for more items."""
    return OverloadedError(message, reason=Reason.MEMORY_FULL, retry_after_seconds=_RETRY_SECONDS)


def _usage_of(group: Group) -> Usage | None:
    """Returns what a group uses of its limit; None: it has none."""
    # v1 says that there is no limit by one that no machine has.
    limit = _number(group.folder / ("memory.max" if group.version == 2 else "memory.limit_in_bytes"))
    if not limit or limit >= 1 << 60:
        return None
    current = _number(group.folder / ("memory.current" if group.version == 2 else "memory.usage_in_bytes"))
    fields = dict(line.split(" ", 1) for line in lines(group.folder / "memory.stat") if " " in line)

    def counted(name: str) -> int:
        return int(fields.get(name, 0))

    if group.version == 2:
        reclaimable = counted("file") - counted("shmem") + counted("slab_reclaimable")
    else:
        reclaimable = counted("total_cache") - counted("total_shmem")
    return Usage(max(current - reclaimable, 0), limit)


def _number(file: Path) -> int:
    """Returns the number that is a file's content; 0: it is another, or there is no such file."""
    text = "".join(lines(file)).strip()
    return int(text) if text.isdecimal() else 0


def _kilobytes(file: Path, name: str) -> int:
    """Returns the bytes of an entry ``name:  12 kB``; 0 where there is none."""
    for line in lines(file):
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
