"""Which collections, generations and aliases there are: one SQLite file.

A collection is recorded as ``creating`` before the shards are told of it and ``deleting`` before they drop
it, so that whatever a crash interrupts can be finished by repeating the call. Generation numbers are never
given twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from gateway.directory.base import Collection, State
from lookalike.collections import Spec
from lookalike.errors import (
    AlreadyExistsError,
    DataLossError,
    FailedPreconditionError,
    InvalidInputError,
    NotFoundError,
    Reason,
)
from lookalike.files.sqlite import check_sqlite_version

_FILE_NAME = "collections.sqlite"
_SCHEMA_VERSION = 1
_BUSY_TIMEOUT_MS = 5_000
_SCHEMA = """
CREATE TABLE collections (
    name TEXT PRIMARY KEY,
    generation TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'deleting')),
    model_version TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    bits INTEGER NOT NULL,
    partition_count INTEGER NOT NULL,
    create_time_ns INTEGER NOT NULL
) STRICT;
CREATE TABLE generations (name TEXT PRIMARY KEY, last_number INTEGER NOT NULL) STRICT;
CREATE TABLE aliases (
    name TEXT PRIMARY KEY,
    collection TEXT NOT NULL REFERENCES collections (name)
) STRICT;
"""
_COLUMNS = "name, generation, state, model_version, dimension, bits, partition_count, create_time_ns"


class Registry:
    """The record of collections and aliases. Every method that changes it returns after the fsync.

    Not for use by several threads at once.

    Args:
        folder: Made if absent; the file in it belongs to one gateway.

    Raises:
        InvalidInputError: The folder cannot be used (``CONFIG_INVALID``).
        DataLossError: The file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        check_sqlite_version()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = apsw.Connection(str(folder / _FILE_NAME))
            self._prepare()
        except (OSError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError):
            raise InvalidInputError(
                f"data_folder {folder} must be a folder that the gateway can write to",
                reason=Reason.CONFIG_INVALID,
                field="data_folder",
            ) from None
        except (apsw.NotADBError, apsw.CorruptError):
            raise DataLossError(f"{_FILE_NAME} in data_folder is damaged: restore it from a copy") from None

    def _prepare(self) -> None:
        self._db.set_busy_timeout(_BUSY_TIMEOUT_MS)
        self._db.pragma("journal_mode", "wal")
        self._db.pragma("synchronous", "full")
        self._db.pragma("foreign_keys", True)
        with self._transaction():
            version = self._db.pragma("user_version")
            if version == 0:
                self._db.execute(_SCHEMA)
                self._db.pragma("user_version", _SCHEMA_VERSION)
            elif version != _SCHEMA_VERSION:
                raise InvalidInputError(
                    f"{_FILE_NAME} in data_folder was written by another version of the gateway"
                    f" (schema {version}; this one reads {_SCHEMA_VERSION})",
                    reason=Reason.CONFIG_INVALID,
                    field="data_folder",
                )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._db:
            yield

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def find(self, name: str) -> Collection | None:
        """Returns a collection in whatever state, by its own name only."""
        with closing(self._db.execute(f"SELECT {_COLUMNS} FROM collections WHERE name = ?", (name,))) as rows:
            row = rows.fetchone()
        return _collection(row) if row else None

    def resolve(self, name: str, field: str = "collection") -> Collection:
        """Returns the collection that is ready under a name or an alias; ``field`` is for the error.

        Raises:
            NotFoundError: None is (``COLLECTION_NOT_FOUND``).
        """
        target = self.target_of(name) or name
        collection = self.find(target)
        if collection is None or collection.state is State.DELETING:
            raise _unknown(name, field)
        if collection.state is State.CREATING:
            raise NotFoundError(
                f'collection "{name}" is not complete: repeat CreateCollection to finish it',
                reason=Reason.COLLECTION_NOT_FOUND,
                field=field,
            )
        return collection

    def ready(self) -> list[Collection]:
        """Returns the collections that are ready, by name."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM collections WHERE state = 'ready' ORDER BY name")
        return [_collection(row) for row in rows]

    def begin_create(self, name: str, spec: Spec) -> Collection:
        """Records a new collection as being created, under a generation never used before."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO generations VALUES (?, 1)"
                " ON CONFLICT (name) DO UPDATE SET last_number = last_number + 1",
                (name,),
            )
            number = self._db.execute("SELECT last_number FROM generations WHERE name = ?", (name,)).get
            collection = Collection(name, f"{name}.{number}", State.CREATING, spec, time.time_ns())
            self._db.execute(
                f"INSERT INTO collections ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    collection.generation,
                    collection.state.value,
                    spec.model_version,
                    spec.dimension,
                    spec.bits,
                    spec.partition_count,
                    collection.create_time_ns,
                ),
            )
        return collection

    def finish_create(self, name: str) -> None:
        """Records that every shard has the collection."""
        with self._transaction():
            self._db.execute("UPDATE collections SET state = 'ready' WHERE name = ?", (name,))

    def begin_delete(self, name: str) -> Collection:
        """Records a collection as being deleted; from now on it is not found.

        Raises:
            NotFoundError: There is none of this name.
            FailedPreconditionError: An alias points to it (``COLLECTION_ALIASED``).
        """
        with self._transaction():
            found = self.find(name)
            if found is None:
                raise _unknown(name, field="name")
            alias = self._db.execute(
                "SELECT name FROM aliases WHERE collection = ? ORDER BY name LIMIT 1", (name,)
            ).get
            if alias:
                raise FailedPreconditionError(
                    f'alias "{alias}" points to collection "{name}": move or delete the alias first',
                    reason=Reason.COLLECTION_ALIASED,
                    field="name",
                )
            self._db.execute("UPDATE collections SET state = 'deleting' WHERE name = ?", (name,))
        return found

    def finish_delete(self, name: str) -> None:
        """Forgets a collection that every shard has dropped."""
        with self._transaction():
            self._db.execute("DELETE FROM collections WHERE name = ? AND state = 'deleting'", (name,))

    def target_of(self, alias: str) -> str:
        """Returns the collection that an alias points to; empty if there is no such alias."""
        target = self._db.execute("SELECT collection FROM aliases WHERE name = ?", (alias,)).get
        return str(target or "")

    def aliases(self) -> list[tuple[str, str]]:
        """Returns all (alias, collection), by alias."""
        rows = self._db.execute("SELECT name, collection FROM aliases ORDER BY name")
        return [(str(alias), str(collection)) for alias, collection in rows]

    def set_alias(self, alias: str, collection: str) -> str:
        """Points an alias to a collection, and returns where it pointed before; empty if it is new.

        Raises:
            NotFoundError: There is no such collection, or it is not ready.
            AlreadyExistsError: A collection has the alias's name.
        """
        with self._transaction():
            if self.find(alias):
                raise AlreadyExistsError(
                    f'"{alias}" is the name of a collection: an alias needs a name of its own',
                    field="alias.name",
                )
            target = self.find(collection)
            if target is None or target.state is not State.READY:
                raise _unknown(collection, field="alias.collection")
            previous = self.target_of(alias)
            self._db.execute(
                "INSERT INTO aliases VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET collection = ?2",
                (alias, collection),
            )
        return previous

    def delete_alias(self, alias: str) -> None:
        """Deletes an alias.

        Raises:
            NotFoundError: There is none of this name (``ALIAS_NOT_FOUND``).
        """
        with self._transaction():
            self._db.execute("DELETE FROM aliases WHERE name = ?", (alias,))
            if not self._db.changes():
                raise NotFoundError(
                    f'there is no alias "{alias}"', reason=Reason.ALIAS_NOT_FOUND, field="name"
                )


def _collection(row: tuple[apsw.SQLiteValue, ...]) -> Collection:
    name, generation, state, model_version, dimension, bits, partition_count, create_time_ns = row
    return Collection(
        name=str(name),
        generation=str(generation),
        state=State(str(state)),
        spec=Spec(str(model_version), _int(dimension), _int(bits), _int(partition_count)),
        create_time_ns=_int(create_time_ns),
    )


def _int(value: apsw.SQLiteValue) -> int:
    assert isinstance(value, int)  # the tables are STRICT
    return value


def _unknown(name: str, field: str) -> NotFoundError:
    return NotFoundError(
        f'there is no collection or alias "{name}"', reason=Reason.COLLECTION_NOT_FOUND, field=field
    )
