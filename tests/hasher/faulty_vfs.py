"""A file system of SQLite that notes what is synced, and refuses what a test tells it to."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

_NAME, _BASE = "faulty", "unix"


class Faults:
    """What happened, and what is to go wrong."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        """Endings of the names of files that were synced, in their order: "" is that of the database."""
        self.refuse_write: Callable[[str], bool] = lambda file: False
        """Takes the ending of a file's name."""
        self.refuse_sync = False
        self.sync_seconds = 0.0
        """What each sync takes more."""
        self.number = errno.EDQUOT
        """Of the errors."""


class _Vfs(apsw.VFS):
    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        super().__init__(_NAME, _BASE, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(self._faults, name, flags)

    def xGetLastError(self) -> tuple[int, str]:  # noqa: N802 - SQLite's name
        return self._faults.number, ""


class _File(apsw.VFSFile):
    def __init__(self, faults: Faults, name: Any, flags: list[int]) -> None:
        self._faults = faults
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self._ending = Path(path).name.partition(".sqlite")[2]
        super().__init__(_BASE, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        if self._faults.refuse_write(self._ending):
            raise _error(apsw.IOError, apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._faults.refuse_sync:
            raise _error(apsw.IOError, apsw.SQLITE_IOERR_FSYNC)
        self._faults.synced.append(self._ending)
        time.sleep(self._faults.sync_seconds)
        super().xSync(flags)


def _error(kind: type[apsw.Error], number: int) -> apsw.Error:
    error = kind("refused by the test")
    error.extendedresult = number  # type: ignore[attr-defined]
    return error


@contextmanager
def faulty_disk() -> Iterator[Faults]:
    """Every connection that is opened meanwhile is on a disk with faults, none at first."""
    faults = Faults()
    vfs = _Vfs(faults)
    try:
        yield faults
    finally:
        vfs.unregister()
