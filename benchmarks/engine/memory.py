"""Resident memory of this process, with mapped index files touched."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

__all__ = ["populate", "resident_bytes"]

MADV_POPULATE_READ = 22


def mappings() -> list[tuple[int, int, str, int]]:
    """Start, end, file (or "") and resident bytes of every mapping of this process."""
    found: list[tuple[int, int, str, int]] = []
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split(maxsplit=5)
        if first == "Rss:":
            start, end, file, _ = found[-1]
            found[-1] = (start, end, file, int(rest[0]) * 1024)
        elif not first.endswith(":"):
            low, high = first.split("-")
            found.append((int(low, 16), int(high, 16), rest[4] if len(rest) > 4 else "", 0))
    return found


def resident_bytes(without: Path) -> int:
    """Resident bytes of all mappings but those of files in the folder `without`."""
    return sum(rss for _, _, file, rss in mappings() if not _inside(file, without))


def populate(folder: Path) -> None:
    """Reads every page of the files in `folder` that this process has mapped."""
    libc = ctypes.CDLL(None, use_errno=True)
    for start, end, file, _ in mappings():
        if _inside(file, folder) and libc.madvise(
            ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_POPULATE_READ
        ):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _inside(file: str, folder: Path) -> bool:
    return file.startswith(f"{folder.resolve()}/")
