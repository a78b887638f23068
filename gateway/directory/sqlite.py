"""The directory of a single gateway: one SQLite file, written by one thread."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import apsw

from gateway.directory.base import Change, Collection, Directory, State
from lookalike.collections import RERANK_BEFORE_CHOICE, Spec
from lookalike.errors import DataLossError, InvalidInputError, Reason, UnavailableError
from lookalike.files.disk import WrittenFiles, make_folder, sync_folder
from lookalike.files.open_files import open_files_error
from lookalike.files.sqlite import check_sqlite_version, is_disk_full, make_durable, transaction
from lookalike.matching import MatchCalibration

_FILE_NAME = "collections.sqlite"
_SCHEMA_VERSION = 3
_SCHEMA_WITH_IDENTITY = 2
_BUSY_TIMEOUT_MS = 5_000
_FULL_RETRY_SECONDS = 5.0
_INSTALLATION = """
CREATE TABLE installation (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    installation_id TEXT NOT NULL,
    layout_epoch INTEGER NOT NULL
) STRICT;
"""
_SCHEMA = f"""
{_INSTALLATION}
CREATE TABLE collections (
    name TEXT PRIMARY KEY,
    generation TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'deleting')),
    create_time_ns INTEGER NOT NULL,
    spec TEXT NOT NULL,
    match_calibration TEXT
) STRICT;
CREATE TABLE aliases (
    name TEXT PRIMARY KEY,
    collection TEXT NOT NULL REFERENCES collections (name)
) STRICT;
"""
# Generations were numbered; they are random now, so that no number has to be remembered.
_FROM_1_TO_2 = f"""
{_INSTALLATION}
ALTER TABLE collections ADD COLUMN spec TEXT NOT NULL DEFAULT '';
UPDATE collections SET spec = json_object(
    'model_version', model_version, 'dimension', dimension, 'bits', bits,
    'partition_count', partition_count, 'rerank', '{RERANK_BEFORE_CHOICE}'
);
ALTER TABLE collections DROP COLUMN model_version;
ALTER TABLE collections DROP COLUMN dimension;
ALTER TABLE collections DROP COLUMN bits;
ALTER TABLE collections DROP COLUMN partition_count;
DROP TABLE generations;
"""
_FROM_2_TO_3 = "ALTER TABLE collections ADD COLUMN match_calibration TEXT;"
_MIGRATIONS = {1: _FROM_1_TO_2, 2: _FROM_2_TO_3}
_COLUMNS = "name, generation, state, create_time_ns, spec, match_calibration"


class SqliteDirectory(Directory):
    """The directory in a file; opening it reads and syncs, so keep it off the event loop.

    Args:
        folder: Made if absent; the file in it belongs to one gateway.

    Raises:
        InvalidInputError: The folder cannot be used, or a newer version wrote the file (``CONFIG_INVALID``).
        DataLossError: The file is damaged.
        UnavailableError: The disk is full (``DISK_FULL``), or the process has too many files open
            (``OPEN_FILES_LIMIT``).
    """

    def __init__(self, folder: Path) -> None:
        check_sqlite_version()
        self._db = _open(folder)
        try:
            with _storage_errors(self._db):
                installation_id, layout_epoch = self._db.execute(
                    "SELECT installation_id, layout_epoch FROM installation"
                ).get
                collections = {
                    row[0]: _collection(*row)
                    for row in self._db.execute(f"SELECT {_COLUMNS} FROM collections")
                }
                aliases = dict(self._db.execute("SELECT name, collection FROM aliases"))
        except BaseException:
            self._db.close()
            raise
        super().__init__(installation_id, layout_epoch, collections, aliases)
        self._failure = ""
        self._files = WrittenFiles(folder / _FILE_NAME, Path(self._db.filename_wal))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="directory")

    @property
    def failure(self) -> str:
        """Why it takes no writes; empty: it does. It looks for the files, so keep it off the event loop."""
        self._check_in_place()
        return self._failure

    def _check_in_place(self) -> None:
        if not self._failure and not self._files.in_place():
            self._failure = f"{_FILE_NAME} was deleted or replaced while the gateway was running"

    def close(self) -> None:
        """Finishes the write that is under way, and closes the file."""
        self._thread.shutdown()
        self._db.close()

    async def _commit(self, change: Change) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._store, change)

    def _store(self, change: Change) -> None:
        if self._failure:
            raise _takes_no_writes(self._failure)
        try:
            with _storage_errors(self._db), transaction(self._db):
                for name, collection in change.collections.items():
                    self._store_collection(name, collection)
                for alias, target in change.aliases.items():
                    self._store_alias(alias, target)
        except apsw.BusyError as error:
            raise _takes_no_writes(f"another program has locked {_FILE_NAME}") from error
        except apsw.Error as error:
            # Nobody knows what of it reached the disk; opening the file again finds out.
            self._failure = f"writing {_FILE_NAME} failed ({error}): restart the gateway"
            raise _takes_no_writes(self._failure) from error
        self._check_in_place()
        if self._failure:
            raise _takes_no_writes(self._failure)

    def _store_collection(self, name: str, collection: Collection | None) -> None:
        if collection is None:
            self._db.execute("DELETE FROM collections WHERE name = ?", (name,))
            return
        calibration = collection.match_calibration
        self._db.execute(
            f"INSERT INTO collections ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name)"
            " DO UPDATE SET state = excluded.state, match_calibration = excluded.match_calibration",
            (
                name,
                collection.generation,
                collection.state.value,
                collection.create_time_ns,
                collection.spec.to_json(),
                calibration.to_json() if calibration else None,
            ),
        )

    def _store_alias(self, alias: str, target: str | None) -> None:
        if target is None:
            self._db.execute("DELETE FROM aliases WHERE name = ?", (alias,))
            return
        self._db.execute(
            "INSERT INTO aliases VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET collection = excluded.collection",
            (alias, target),
        )


def _takes_no_writes(cause: str) -> UnavailableError:
    return UnavailableError(
        f"the gateway cannot write its record of collections: {cause}", reason=Reason.DIRECTORY_UNAVAILABLE
    )


def _open(folder: Path) -> apsw.Connection:
    """Opens the file at the current schema, with all that it holds on the disk."""
    unusable = InvalidInputError(
        f"data_folder {folder} must be a folder that the gateway can write to",
        reason=Reason.CONFIG_INVALID,
        field="data_folder",
    )
    try:
        make_folder(folder)
        db = apsw.Connection(str(folder / _FILE_NAME))
    except (OSError, apsw.CantOpenError) as error:
        raise open_files_error(error) or unusable from None
    try:
        with _storage_errors(db):
            _prepare(db)
            sync_folder(folder)
    except (OSError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        problem = open_files_error(error) or unusable
        db.close()
        raise problem from None
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: apsw.Connection) -> None:
    db.set_busy_timeout(_BUSY_TIMEOUT_MS)
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "full")
    db.pragma("foreign_keys", True)
    make_durable(db)
    with transaction(db):
        version = db.pragma("user_version")
        if version > _SCHEMA_VERSION:
            raise InvalidInputError(
                f"{_FILE_NAME} in data_folder has schema {version}, which a newer version of the gateway"
                f" wrote; this one reads up to {_SCHEMA_VERSION}: run the newer version",
                reason=Reason.CONFIG_INVALID,
                field="data_folder",
            )
        if not version:
            db.execute(_SCHEMA)
        for before in range(version or _SCHEMA_VERSION, _SCHEMA_VERSION):
            db.execute(_MIGRATIONS[before])
        if version < _SCHEMA_WITH_IDENTITY:
            db.execute("INSERT INTO installation VALUES (1, ?, 1)", (secrets.token_hex(16),))
        if version < _SCHEMA_VERSION:
            db.pragma("user_version", _SCHEMA_VERSION)


@contextmanager
def _storage_errors(db: apsw.Connection) -> Iterator[None]:
    """Turns SQLite's errors into domain errors.

    Raises:
        DataLossError: The file is damaged (``STORE_DAMAGED``).
        UnavailableError: The disk is full (``DISK_FULL``).
        apsw.Error: Anything else.
    """
    try:
        yield
    except (apsw.NotADBError, apsw.CorruptError):
        raise DataLossError(f"{_FILE_NAME} in data_folder is damaged: restore it from a copy") from None
    except apsw.Error as error:
        if not is_disk_full(error, db):
            raise
        raise UnavailableError(
            f"the gateway's disk is full: {_FILE_NAME} in data_folder cannot grow",
            reason=Reason.DISK_FULL,
            retry_after_seconds=_FULL_RETRY_SECONDS,
        ) from error


def _collection(*row: apsw.SQLiteValue) -> Collection:
    name, generation, state, create_time_ns, spec, calibration = row
    return Collection(
        name=str(name),
        generation=str(generation),
        state=State(str(state)),
        spec=Spec.from_json(str(spec)),
        create_time_ns=_int(create_time_ns),
        match_calibration=MatchCalibration.from_json(str(calibration)) if calibration else None,
    )


def _int(value: apsw.SQLiteValue) -> int:
    assert isinstance(value, int)  # the tables are STRICT
    return value
