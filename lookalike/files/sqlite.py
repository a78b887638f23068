"""The SQLite files that gateway and hasher keep their data in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from lookalike.errors import InvalidInputError, Reason
from lookalike.files.disk import FULL

# Older versions can lose a commit when two connections reset the write-ahead log at the same time.
_MIN_VERSION = (3, 51, 3)
_SYNC_FAILED = frozenset({apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC})


def check_sqlite_version() -> None:
    """Makes sure that SQLite is safe for a write-ahead log with several connections.

    Raises:
        InvalidInputError: It is older than 3.51.3 (``CONFIG_INVALID``).
    """
    found = apsw.sqlite_lib_version()
    if tuple(map(int, found.split("."))) < _MIN_VERSION:
        needed = ".".join(map(str, _MIN_VERSION))
        raise InvalidInputError(
            f"SQLite {found} is too old, {needed} or newer is needed: upgrade apsw",
            reason=Reason.CONFIG_INVALID,
        )


def make_durable(connection: apsw.Connection) -> None:
    """Brings everything that was committed to the disk; for a file that was just opened, before it is used.

    A process that is killed may leave commits in the write-ahead log that no fsync has reached. SQLite reads
    them from the page cache and takes them for done: acknowledging a repeated write would then sync nothing.

    Raises:
        apsw.BusyError: Another process reads the file.
        OSError: The write-ahead log cannot be synced.
    """
    try:
        connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.Error as error:
        if not is_disk_full(error, connection):
            raise
        # There is no space to copy the log into the file, but what is in the log has its place.
        descriptor = os.open(connection.filename_wal, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Commits what the block did, or undoes all of it where it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has already rolled back after some errors, such as a full disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def is_disk_full(error: apsw.Error, connection: apsw.Connection) -> bool:
    """Whether a statement failed, and changed nothing, because there is no space.

    A quota that is used up, and an index of the write-ahead log that cannot grow, are plain I/O errors to
    SQLite. A failed fsync does not count: nobody knows what it left.
    """
    if isinstance(error, apsw.FullError):
        return True
    return (
        isinstance(error, apsw.IOError | apsw.CantOpenError)
        and getattr(error, "extendedresult", 0) not in _SYNC_FAILED
        and connection.system_errno in FULL
    )
