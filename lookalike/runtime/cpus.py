"""How many processors a process may use: fewer than the machine has where it is confined to some of them."""

from __future__ import annotations

import math
import os
from pathlib import Path

from lookalike.runtime.cgroups import CGROUPS, OWN_GROUPS, groups, lines


def available_cpus() -> int:
    """Returns the number of processors that this process may use, at least 1.

    That is its affinity, and where a container has a quota no more than that, rounded up.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cpus, quota(CGROUPS, OWN_GROUPS))))


def quota(cgroups: Path, own_groups: Path) -> float:
    """Returns the processors that the control groups of this process allow; infinity: as many as there are.

    Args:
        cgroups: Where the control groups are mounted.
        own_groups: The file that names those of the process, line by line: ``id:controllers:path``.
    """
    found = groups("cpu", cgroups, own_groups)
    return min((_quota_of(group.folder, group.version) for group in found), default=math.inf)


def _quota_of(group: Path, version: int) -> float:
    return _quota_of_v2(group) if version == 2 else _quota_of_v1(group)


def _quota_of_v2(group: Path) -> float:
    for line in lines(group / "cpu.max"):
        quota_us, _, period_us = line.partition(" ")
        return _ratio(quota_us, period_us)
    return math.inf


def _quota_of_v1(group: Path) -> float:
    for quota_us in lines(group / "cpu.cfs_quota_us"):
        for period_us in lines(group / "cpu.cfs_period_us"):
            return _ratio(quota_us, period_us)
    return math.inf


def _ratio(quota_us: str, period_us: str) -> float:
    try:
        allowed = int(quota_us) / int(period_us)
    except (ValueError, ZeroDivisionError):
        return math.inf  # "max"
    return allowed if allowed > 0 else math.inf
