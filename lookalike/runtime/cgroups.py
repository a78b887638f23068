"""The control groups of this process, in which containers are confined: where their files are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Group:
    """One control group."""

    folder: Path
    version: Literal[1, 2]
    """Of the interface, which decides what the files are called."""


def groups(controller: str, cgroups: Path = CGROUPS, own_groups: Path = OWN_GROUPS) -> Iterator[Group]:
    """Yields the groups that confine this process, each before the one around it.

    Args:
        controller: Such as ``cpu`` or ``memory``.
        cgroups: Where the control groups are mounted.
        own_groups: The file that names those of the process, line by line: ``id:controllers:path``.
    """
    for line in lines(own_groups):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroups / controller if controllers else cgroups
        # In a container the path is often that of the host, and only the root is there.
        folder = root / path.strip("/")
        for confining in (folder, *folder.parents):
            yield Group(confining, 1 if controllers else 2)
            if confining == root:
                break


def lines(file: Path) -> list[str]:
    """Returns the lines of a file; none of one that cannot be read."""
    try:
        return file.read_text().splitlines()
    except (OSError, ValueError):
        return []
