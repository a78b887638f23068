"""Bringing a row file of an earlier schema to the current one, and refusing one of a later."""

from __future__ import annotations

import json
import time
import zlib

import apsw

from hasher.rows.requests import ANY_PARTITION
from hasher.rows.schema import LOG, ROW_INDEXES, ROWS, SCHEMA_VERSION, set_meta
from lookalike.collections import RERANK_BEFORE_CHOICE, Spec
from lookalike.errors import FailedPreconditionError, Reason
from lookalike.files.sqlite import transaction
from lookalike.placement import partition_of

DIRECT_LOG = "direct"
"""The log that all generations of the first schema have."""


def migrate(connection: apsw.Connection, generation: str) -> int:
    """Brings a row file to the current schema in one transaction; returns the schema that it had.

    Rows are copied one by one within SQLite, so that memory stays small however many there are; the disk
    needs as much space again until it is done.

    Raises:
        FailedPreconditionError: A later version wrote the file (``CONFIG_INVALID``); it is left as it is.
        ValueError: It is not a row file.
        apsw.Error: It cannot be read or written; it is as before.
    """
    version = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").get
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"its schema version is {version!r}")
    if version > SCHEMA_VERSION:
        raise FailedPreconditionError(
            f"the row file of generation {generation} was written by a newer version of Lookalike (schema"
            f" {version}; this one reads up to {SCHEMA_VERSION}): it is unharmed, start that version again",
            reason=Reason.CONFIG_INVALID,
            metadata={"schema": str(version), "known": str(SCHEMA_VERSION)},
        )
    if version == 1:
        # References are checked when a table is dropped, row by row, unless this is off.
        connection.execute("PRAGMA foreign_keys = OFF")
        try:
            with transaction(connection):
                _from_1_to_2(connection)
        finally:
            connection.execute("PRAGMA foreign_keys = ON")
    return version


def _from_1_to_2(connection: apsw.Connection) -> None:
    """Adds partitions, lanes and revisions; up to now all changes were in one order, counted by ``position``.

    A schema 3 must keep the tables as schema 2 has them for this step.
    """
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    spec = Spec(**json.loads(str(meta["spec"])))

    def partition(*values: apsw.SQLiteValue) -> int:
        return partition_of(str(values[0]), spec.partition_count)

    connection.create_scalar_function("partition_of", partition, 1, deterministic=True)
    _copy_rows(connection)
    connection.execute("ALTER TABLE requests RENAME TO requests_1")
    connection.execute("ALTER TABLE deletions RENAME TO deletions_1")
    connection.execute("DROP INDEX requests_by_position")
    connection.execute(LOG)
    connection.execute("INSERT INTO deletions SELECT row_number, position FROM deletions_1")
    connection.execute(
        "INSERT INTO lanes SELECT 0, ?, coalesce(max(update_time_ns), 0) FROM rows", (meta["position"],)
    )
    connection.execute(
        "INSERT INTO partitions SELECT partition, 0, max(position) FROM rows GROUP BY partition"
    )
    _copy_requests(connection)
    connection.execute("DROP TABLE requests_1; DROP TABLE deletions_1")
    _describe(connection, meta)


def _copy_rows(connection: apsw.Connection) -> None:
    connection.execute("ALTER TABLE rows RENAME TO rows_1")
    connection.execute("DROP INDEX rows_by_product; DROP INDEX rows_by_position")
    connection.execute(ROWS)
    connection.execute(
        "INSERT INTO rows SELECT row_number, item_id, partition_of(item_id), product_number, version,"
        " position, position, update_time_ns, item, vector FROM rows_1 ORDER BY row_number"
    )
    # Numbers of rows that were deleted are not given again either.
    connection.execute(
        "DELETE FROM sqlite_sequence WHERE name = 'rows';"
        "UPDATE sqlite_sequence SET name = 'rows' WHERE name = 'rows_1'"
    )
    connection.execute("DROP TABLE rows_1")
    connection.execute(ROW_INDEXES)


def _copy_requests(connection: apsw.Connection) -> None:
    """Keeps the request ids, for as long from now on as any; which items they were of was not kept."""
    now_ns = time.time_ns()
    rows = connection.execute("SELECT request_id, position, payload_hash, outcomes FROM requests_1")
    insert = "INSERT INTO requests VALUES (?, 0, ?, ?, ?)"
    for request_id, position, payload_hash, encoded in rows:
        outcomes = [
            (ANY_PARTITION, 0, int(existed), int(conflict), version)
            for version, existed, conflict in json.loads(zlib.decompress(encoded))
        ]
        text = json.dumps([position, outcomes], separators=(",", ":"))
        connection.execute(insert, (request_id, now_ns, payload_hash, zlib.compress(text.encode(), level=1)))


def _describe(connection: apsw.Connection, meta: dict[str, apsw.SQLiteValue]) -> None:
    described = {**json.loads(str(meta["spec"])), "rerank": RERANK_BEFORE_CHOICE}
    set_meta(connection, schema_version=2, spec=json.dumps(described))
    connection.execute("UPDATE meta SET key = 'revision' WHERE key = 'position'")
    connection.execute("UPDATE meta SET key = 'index_revision' WHERE key = 'index_position'")
    added = {"creation_request_id": "", "installation_id": "", "log_id": DIRECT_LOG}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", added.items())
