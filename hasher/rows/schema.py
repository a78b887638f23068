"""The tables of a row file, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import apsw

from hasher.rows.records import Creation
from lookalike.collections import Spec

SCHEMA_VERSION = 2
_FIRST_REVISION = 1
"""Of a generation without rows."""

# `rows.vector` comes last so that reading an item does not walk over its vector's pages.
# AUTOINCREMENT: a number is never given to a second row, so a stale index entry can never name another item.
# `revision` counts the records that were applied here; it says what a saved index lacks, whatever the lanes.
ROWS = """
CREATE TABLE rows (
    row_number INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id TEXT NOT NULL UNIQUE,
    partition INTEGER NOT NULL,
    product_number INTEGER NOT NULL REFERENCES products,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    update_time_ns INTEGER NOT NULL,
    item BLOB NOT NULL,
    vector BLOB NOT NULL
) STRICT;
"""
ROW_INDEXES = """
CREATE INDEX rows_by_product ON rows (product_number);
CREATE INDEX rows_by_partition ON rows (partition);
CREATE INDEX rows_by_revision ON rows (revision);
"""
PRODUCTS = """
CREATE TABLE products (
    product_number INTEGER PRIMARY KEY AUTOINCREMENT,
    product_key TEXT NOT NULL UNIQUE,
    item_count INTEGER NOT NULL
) STRICT;
"""
# One row for each record, not for each partition: see docs/adr/0011-request-ids.md.
LOG = """
CREATE TABLE lanes (lane INTEGER PRIMARY KEY, position INTEGER NOT NULL, time_ns INTEGER NOT NULL) STRICT;
CREATE TABLE partitions (
    partition INTEGER PRIMARY KEY,
    lane INTEGER NOT NULL,
    position INTEGER NOT NULL
) STRICT;
CREATE TABLE deletions (row_number INTEGER PRIMARY KEY, revision INTEGER NOT NULL) STRICT;
CREATE TABLE requests (
    request_id TEXT NOT NULL,
    lane INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    payload_hash BLOB NOT NULL,
    outcomes BLOB NOT NULL,
    PRIMARY KEY (request_id, lane)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_time ON requests (lane, created_ns);
CREATE TABLE refusals (
    lane INTEGER NOT NULL,
    position INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    PRIMARY KEY (lane, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX refusals_by_time ON refusals (lane, created_ns);
"""
META = "CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;"


@dataclass(frozen=True, slots=True)
class Meta:
    """What a row file says of itself.

    ``creation_request_id`` and ``installation_id`` are empty where a file of the first schema did not have
    them. ``index_revision`` is that of the saved index; 0: none was saved.
    """

    spec: Spec
    creation_request_id: str
    installation_id: str
    shard: int
    shard_count: int
    log_id: str
    revision: int
    index_revision: int

    @classmethod
    def read(cls, connection: apsw.Connection) -> Self:
        """Reads it.

        Raises:
            apsw.SQLError, KeyError, TypeError, ValueError: It is not there or not readable.
        """
        values = dict(connection.execute("SELECT key, value FROM meta"))
        return cls(
            spec=Spec.from_json(str(values["spec"])),
            creation_request_id=str(values["creation_request_id"]),
            installation_id=str(values["installation_id"]),
            shard=int(values["shard"]),
            shard_count=int(values["shard_count"]),
            log_id=str(values["log_id"]),
            revision=int(values["revision"]),
            index_revision=int(values["index_revision"]),
        )


def create_tables(connection: apsw.Connection, creation: Creation) -> None:
    """Makes the tables of a new generation, without rows."""
    connection.execute(META + PRODUCTS + ROWS + ROW_INDEXES + LOG)
    meta = {
        "schema_version": SCHEMA_VERSION,
        "spec": creation.spec.to_json(),
        "creation_request_id": creation.request_id,
        "installation_id": creation.installation_id,
        "shard": creation.shard,
        "shard_count": creation.shard_count,
        "log_id": creation.log_id,
        "revision": _FIRST_REVISION,
        "index_revision": 0,
    }
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    connection.executemany("INSERT INTO lanes VALUES (?, ?, 0)", creation.positions.items())


def set_meta(connection: apsw.Connection, **values: str | int) -> None:
    """Changes what a row file says of itself."""
    connection.executemany(
        "UPDATE meta SET value = ? WHERE key = ?", ((value, key) for key, value in values.items())
    )
