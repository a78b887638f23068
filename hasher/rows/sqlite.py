"""Connections to the SQLite file of a generation, and what can go wrong with it as domain errors."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from lookalike.errors import DataLossError, Reason, UnavailableError
from lookalike.files.open_files import open_files_error
from lookalike.files.sqlite import is_disk_full

WAL_LIMIT_BYTES = 64 * 1024 * 1024
"""Above it the write-ahead log is brought back to its start, for which readers are waited for."""
_BUSY_MILLISECONDS = 10_000
_WRITER_CACHE_KIB = 32 * 1024
_READER_CACHE_KIB = 2 * 1024
"""There may be many readers, and the kernel caches the file, too."""
_FULL_RETRY_SECONDS = 5.0
_FILE_ERRORS = (
    apsw.IOError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FormatError,
    apsw.NotADBError,
    apsw.ReadOnlyError,
    apsw.PermissionsError,
)


def open_writer(path: Path, *, create: bool = False) -> apsw.Connection:
    """Opens the connection that writes; every commit is on the disk (fsync) when it returns."""
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
    return connection


def restart_wal(connection: apsw.Connection, patience_seconds: float) -> bool:
    """Copies the write-ahead log into the file, so that the next commit begins at its start.

    Returns:
        Whether it could: no reader was in the way for longer than ``patience_seconds``.
    """
    connection.set_busy_timeout(round(patience_seconds * 1000))
    try:
        connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_RESTART)
    except apsw.BusyError:
        return False
    finally:
        connection.set_busy_timeout(_BUSY_MILLISECONDS)
    return True


def concerns_file(error: BaseException) -> bool:
    """Whether an error leaves open what the file holds, as one of a single change does not."""
    return isinstance(error, (*_FILE_ERRORS, DataLossError))


@contextmanager
def storage_errors(generation: str, connection: apsw.Connection | None = None) -> Iterator[None]:
    """Turns SQLite's errors into domain errors that name the generation and no path of the server.

    Args:
        generation: Its name.
        connection: What is used; None where it is being opened.

    Raises:
        DataLossError: The file is damaged (``STORE_DAMAGED``).
        UnavailableError: The disk is full (``DISK_FULL``), no file can be opened any more, or another
            process has locked the file.
    """
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, apsw.FormatError) as error:
        raise damaged(generation, str(error)) from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise UnavailableError(
            f"another process uses the row file of generation {generation}", retry_after_seconds=1.0
        ) from error
    except apsw.Error as error:
        if isinstance(error, apsw.FullError) or (connection and is_disk_full(error, connection)):
            raise disk_full(f"generation {generation} takes no writes") from error
        if isinstance(error, apsw.CantOpenError) and (problem := open_files_error(error)):
            raise problem from error
        raise


def disk_full(consequence: str) -> UnavailableError:
    """Returns the error of a disk without space."""
    return UnavailableError(
        f"the disk of the shard is full: {consequence}",
        reason=Reason.DISK_FULL,
        retry_after_seconds=_FULL_RETRY_SECONDS,
    )


def damaged(generation: str, cause: str) -> DataLossError:
    """Returns the error of a row file that cannot be used."""
    return DataLossError(
        f"the row file of generation {generation} is damaged ({cause}): restore rows.sqlite from a copy, or"
        f" delete the folder of the generation to give it up",
        metadata={"generation": generation},
    )


def _closing() -> UnavailableError:
    return UnavailableError("the generation is closing", reason=Reason.SHUTTING_DOWN)


class ReaderPool:
    """Read-only connections, each lent to one thread at a time; as many as there are readers at once."""

    def __init__(self, path: Path, generation: str) -> None:
        self._path = path
        self._generation = generation
        self._idle: queue.LifoQueue[apsw.Connection] = queue.LifoQueue()
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[apsw.Connection]:
        """Lends a connection; what goes wrong with it is raised as by :func:`storage_errors`.

        Raises:
            UnavailableError: The pool is closed (``SHUTTING_DOWN``).
        """
        self._check_open()
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            with storage_errors(self._generation):
                connection = self._open()
        try:
            with storage_errors(self._generation, connection):
                yield connection
        finally:
            self._idle.put(connection)
            if self._closed:
                self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise _closing()

    def _open(self) -> apsw.Connection:
        try:
            connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
        except apsw.CantOpenError:
            # A generation that is being dropped loses its file under calls that still run.
            if not self._closed:
                raise
            raise _closing() from None
        connection.set_busy_timeout(_BUSY_MILLISECONDS)
        connection.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
        return connection

    def close(self) -> None:
        """Closes the idle connections; one that is lent closes when it comes back."""
        self._closed = True
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()


def size_of(file: Path) -> int:
    """Returns the bytes of a file; 0: there is none."""
    try:
        return file.stat().st_size
    except OSError:
        return 0
