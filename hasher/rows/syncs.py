"""How long the fsyncs of a row file take, apart from the commits that wait for them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Literal

import apsw

from lookalike._native import SyncTimes

SyncedFile = Literal["log", "rows"]
"""The write-ahead log, which each commit syncs; the row file, into which the log is copied now and then."""
Synced = Callable[[SyncedFile, float], None]
"""Takes the file and the seconds of one fsync, also of one that failed."""
_POINTERS: dict[SyncedFile, int] = {
    "log": apsw.SQLITE_FCNTL_JOURNAL_POINTER,
    "rows": apsw.SQLITE_FCNTL_FILE_POINTER,
}


def unwatched(file: SyncedFile, seconds: float) -> None:
    """Leaves the fsyncs of a file that nobody watches alone."""


class SyncWatch:
    """Times the fsyncs of a connection; of what is synced, and when, it changes nothing.

    Args:
        connection: Keeps a write-ahead log, and has read or written: only then is its log open.
        synced: Is called by :meth:`report`.
    """

    def __init__(self, connection: apsw.Connection, synced: Synced) -> None:
        self._synced = synced
        self._times: dict[SyncedFile, SyncTimes] = {file: SyncTimes() for file in _POINTERS}
        for file, times in self._times.items():
            address = ctypes.c_void_p()
            connection.file_control("main", _POINTERS[file], ctypes.addressof(address))
            times.watch(address.value or 0)

    def report(self) -> None:
        """Hands over the fsyncs since the last report."""
        for file, times in self._times.items():
            for seconds in times.take():
                self._synced(file, seconds)
