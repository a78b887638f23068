"""Opening the SQLite file of a generation: settings, schema, and damage as a domain error."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from lookalike.errors import DataLossError, Reason, UnavailableError

SCHEMA_VERSION = 1
_BUSY_MILLISECONDS = 10_000
_CACHE_KIB = 32 * 1024

# `rows.vector` comes last so that reading an item does not walk over its vector's pages.
# AUTOINCREMENT: a number is never given to a second row, so a stale index entry can never name another item.
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE products (
    product_number INTEGER PRIMARY KEY AUTOINCREMENT,
    product_key TEXT NOT NULL UNIQUE,
    item_count INTEGER NOT NULL
) STRICT;
CREATE TABLE rows (
    row_number INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id TEXT NOT NULL UNIQUE,
    product_number INTEGER NOT NULL REFERENCES products,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    update_time_ns INTEGER NOT NULL,
    item BLOB NOT NULL,
    vector BLOB NOT NULL
) STRICT;
CREATE INDEX rows_by_product ON rows (product_number);
CREATE INDEX rows_by_position ON rows (position);
CREATE TABLE deletions (row_number INTEGER PRIMARY KEY, position INTEGER NOT NULL) STRICT;
CREATE TABLE requests (
    request_id TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    payload_hash BLOB NOT NULL,
    outcomes BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_position ON requests (position);
"""


def open_writer(path: Path, *, create: bool = False) -> apsw.Connection:
    """Opens the connection that writes; every commit is on the disk (fsync) when it returns."""
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return connection


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


@contextmanager
def storage_errors(generation: str) -> Iterator[None]:
    """Turns SQLite's errors into domain errors that name the generation and no path of the server.

    Raises:
        DataLossError: The file is damaged (``STORE_DAMAGED``).
        UnavailableError: The disk is full.
    """
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, apsw.FormatError) as error:
        raise damaged(generation, str(error)) from error
    except apsw.FullError as error:
        raise UnavailableError(
            f"the disk of the shard is full: generation {generation} takes no writes", retry_after_seconds=5.0
        ) from error


def damaged(generation: str, cause: str) -> DataLossError:
    """Returns the error of a row file that cannot be used."""
    return DataLossError(
        f"the row file of generation {generation} is damaged ({cause}): restore rows.sqlite from a copy, or"
        f" delete the folder of the generation to give it up",
        metadata={"generation": generation},
    )


class ReaderPool:
    """Read-only connections, each lent to one thread at a time; as many as there are readers at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: queue.LifoQueue[apsw.Connection] = queue.LifoQueue()
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[apsw.Connection]:
        """Lends a connection.

        Raises:
            UnavailableError: The pool is closed (``SHUTTING_DOWN``).
        """
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._open()
        try:
            yield connection
        finally:
            self._idle.put(connection)
            if self._closed:
                self.close()

    def _open(self) -> apsw.Connection:
        try:
            connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
        except apsw.CantOpenError:
            # A generation that is being dropped loses its file under calls that still run.
            if not self._closed:
                raise
            raise UnavailableError("the generation is closing", reason=Reason.SHUTTING_DOWN) from None
        connection.set_busy_timeout(_BUSY_MILLISECONDS)
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        return connection

    def close(self) -> None:
        """Closes the idle connections; one that is lent closes when it comes back."""
        self._closed = True
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()
