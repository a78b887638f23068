"""CPU time of processes, as the kernel accounts for it."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

__all__ = ["cpu_seconds", "cpu_seconds_of", "until_idle"]

TICKS = os.sysconf("SC_CLK_TCK")
# Counted after the name, which is in parentheses and may hold anything.
PARENT, FIRST_TIME, LAST_TIME = 1, 11, 15

# Of a core: an idle service looks at its data and its neighbours, which takes some 5 %.
IDLE_SHARE = 0.15
IDLE_WITHIN_SECONDS = 300.0


def until_idle(pid: int) -> None:
    """Waits until a process has no work of its own: indexes that are loaded, or built again.

    Raises:
        RuntimeError: It still works after minutes.
    """
    deadline = time.monotonic() + IDLE_WITHIN_SECONDS
    before = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(1)
        now = cpu_seconds(pid)
        if now - before < IDLE_SHARE:
            return
        before = now
    raise RuntimeError(f"process {pid} does not come to rest")


def cpu_seconds_of(processes: Mapping[str, int]) -> dict[str, float]:
    """User and system time of each named process with all that it has started, so far."""
    return {name: cpu_seconds(pid) for name, pid in processes.items()}


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its descendants, those included that have ended."""
    children: dict[int, list[int]] = defaultdict(list)
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _fields(entry)):
            children[int(fields[PARENT])].append(int(entry.name))
            # Own user and system time, then those of children that have ended and been waited for.
            ticks[int(entry.name)] = sum(map(int, fields[FIRST_TIME:LAST_TIME]))
    if pid not in ticks:
        raise ProcessLookupError(f"process {pid} has ended")
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        total += ticks[one]
        waiting += children[one]
    return total / TICKS


def _fields(process: Path) -> list[str]:
    try:
        return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
