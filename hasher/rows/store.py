"""The rows of one generation in SQLite: the truth that the index is derived from."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import apsw
import numpy as np

from hasher.rows.records import (
    Applied,
    Change,
    Delete,
    IndexEntries,
    IndexEntry,
    Mutation,
    Outcome,
    StoredRow,
    Upsert,
)
from hasher.rows.sqlite import (
    SCHEMA,
    SCHEMA_VERSION,
    ReaderPool,
    damaged,
    open_writer,
    storage_errors,
    transaction,
)
from lookalike.collections import Spec
from lookalike.errors import InvalidInputError, LookalikeError, Reason
from lookalike.wire.vectors import WIRE_DTYPE, to_bytes

ROWS_FILE = "rows.sqlite"
REQUEST_WINDOW = 10_000
"""A request id is remembered for this many further changes of its generation."""


@dataclass(slots=True)
class Committed:
    """What one transaction did: a result for each change, and what the index has to follow."""

    position: int
    results: list[Applied | LookalikeError] = field(default_factory=list)
    entries: dict[int, IndexEntry | None] = field(default_factory=dict)
    """Row number to its new index entry; None: the row is gone."""
    added_items: int = 0
    added_products: int = 0


class RowStore:
    """The row file of one generation.

    One thread at a time writes (a lock sees to it); any number of threads read, each over a connection of
    its own, and see only what is committed.

    Args:
        folder: The generation's folder.
        generation: Its name, for errors.

    Raises:
        DataLossError: The file is missing, damaged or none of this version's.
    """

    def __init__(self, folder: Path, generation: str) -> None:
        path = folder / ROWS_FILE
        self._generation = generation
        self._write_lock = threading.Lock()
        if not path.is_file():
            raise damaged(generation, "rows.sqlite is missing")
        with storage_errors(generation):
            try:
                self._writer = open_writer(path)
            except apsw.CantOpenError as error:
                raise damaged(generation, f"it cannot be opened: {error}") from error
            self._readers = ReaderPool(path)
            try:
                self._read_meta()
            except (apsw.SQLError, KeyError, TypeError, ValueError) as error:
                raise damaged(generation, f"unreadable metadata: {error}") from error

    @staticmethod
    def create(folder: Path, spec: Spec, shard: int, shard_count: int) -> None:
        """Writes the row file of a new generation, without rows, at position 1, its creation."""
        connection = open_writer(folder / ROWS_FILE, create=True)
        meta = {
            "schema_version": SCHEMA_VERSION,
            "spec": json.dumps(asdict(spec)),
            "shard": shard,
            "shard_count": shard_count,
            "position": 1,
            "index_position": 0,
        }
        with transaction(connection):
            connection.execute(SCHEMA)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        connection.close()

    def _read_meta(self) -> None:
        meta = dict(self._writer.execute("SELECT key, value FROM meta"))
        if meta.get("schema_version") != SCHEMA_VERSION:
            raise damaged(self._generation, f"its schema version {meta.get('schema_version')} is unknown")
        self.spec = Spec(**json.loads(meta["spec"]))
        self.shard, self.shard_count = int(meta["shard"]), int(meta["shard_count"])
        self.position = int(meta["position"])
        self.index_position = int(meta["index_position"])
        """Position of the saved index; 0: none was saved."""
        self.item_count: int = self._writer.execute("SELECT count(*) FROM rows").get
        self.product_count: int = self._writer.execute("SELECT count(*) FROM products").get

    # Writing

    def apply(self, changes: Sequence[Change]) -> Committed:
        """Applies changes in their order, in one transaction; they are on the disk when it returns.

        A change whose request id is known gets its first answer again, or an error where its content differs.

        Raises:
            UnavailableError: The disk is full; nothing was applied.
            DataLossError: The file is damaged; nothing was applied.
        """
        with self._write_lock, storage_errors(self._generation):
            group = Committed(self.position)
            with transaction(self._writer):
                for change in changes:
                    group.results.append(self._apply_once(change, group))
                self._set_meta("position", group.position)
                self._writer.execute(
                    "DELETE FROM requests WHERE position <= ?", (group.position - REQUEST_WINDOW,)
                )
            self.position = group.position
            self.item_count += group.added_items
            self.product_count += group.added_products
            return group

    def record_index(self, position: int) -> None:
        """Notes that the saved index holds everything up to ``position``; 0: that none can be used."""
        with self._write_lock, storage_errors(self._generation), transaction(self._writer):
            self._set_meta("index_position", position)
            self._writer.execute("DELETE FROM deletions WHERE position <= ?", (position,))
        self.index_position = position

    def _set_meta(self, key: str, value: int) -> None:
        self._writer.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))

    def _apply_once(self, change: Change, group: Committed) -> Applied | LookalikeError:
        known = self._writer.execute(
            "SELECT position, payload_hash, outcomes FROM requests WHERE request_id = ?", (change.request_id,)
        ).fetchone()
        if known is not None:
            position, payload_hash, encoded = known
            outcomes = _decode_outcomes(encoded)
            # The first answer fits only as many mutations as there were then.
            if payload_hash != change.payload_hash or len(outcomes) != len(change.mutations):
                return InvalidInputError(
                    "the request_id was already used with other content: use a new one",
                    reason=Reason.REQUEST_ID_REUSED,
                    field="request_id",
                )
            return Applied(position, outcomes)
        group.position += 1
        applied = Applied(
            group.position, tuple(self._mutate(mutation, group) for mutation in change.mutations)
        )
        self._writer.execute(
            "INSERT INTO requests VALUES (?, ?, ?, ?)",
            (change.request_id, applied.position, change.payload_hash, _encode_outcomes(applied.outcomes)),
        )
        return applied

    def _mutate(self, mutation: Mutation, group: Committed) -> Outcome:
        row = self._writer.execute(
            "SELECT row_number, version, product_number FROM rows WHERE item_id = ?", (mutation.item_id,)
        ).fetchone()
        version = row[1] if row else 0
        if mutation.if_version is not None and mutation.if_version != version:
            return Outcome(version, existed=row is not None, conflict=True)
        if isinstance(mutation, Delete):
            if row:
                self._delete(row[0], row[2], group)
            return Outcome(0, existed=row is not None)
        # The position alone would not grow for a row that came from a shard with a longer log.
        version = max(group.position, version + 1)
        product_number = self._take_product(mutation, group)
        values = (
            product_number,
            version,
            group.position,
            time.time_ns(),
            mutation.item,
            to_bytes(mutation.vector),
        )
        if row:
            self._writer.execute(
                "UPDATE rows SET product_number = ?, version = ?, position = ?, update_time_ns = ?, item = ?,"
                " vector = ? WHERE row_number = ?",
                (*values, row[0]),
            )
            self._release_product(row[2], group)
            row_number = row[0]
        else:
            self._writer.execute(
                "INSERT INTO rows (product_number, version, position, update_time_ns, item, vector, item_id)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*values, mutation.item_id),
            )
            row_number = self._writer.last_insert_rowid()
            group.added_items += 1
        group.entries[row_number] = IndexEntry(mutation.vector, product_number, mutation.item)
        return Outcome(version, existed=row is not None)

    def _delete(self, row_number: int, product_number: int, group: Committed) -> None:
        self._writer.execute("DELETE FROM rows WHERE row_number = ?", (row_number,))
        self._writer.execute("INSERT INTO deletions VALUES (?, ?)", (row_number, group.position))
        self._release_product(product_number, group)
        group.entries[row_number] = None
        group.added_items -= 1

    def _take_product(self, upsert: Upsert, group: Committed) -> int:
        # The prefix keeps an item without product apart from a product named like it.
        key = f"p:{upsert.product_id}" if upsert.product_id else f"i:{upsert.item_id}"
        taken: list[Any] = self._writer.execute(
            "INSERT INTO products (product_key, item_count) VALUES (?, 1)"
            " ON CONFLICT (product_key) DO UPDATE SET item_count = item_count + 1"
            " RETURNING product_number, item_count",
            (key,),
        ).fetchall()
        product_number, item_count = taken[0]
        group.added_products += item_count == 1
        return int(product_number)

    def _release_product(self, product_number: int, group: Committed) -> None:
        left = self._writer.execute(
            "UPDATE products SET item_count = item_count - 1 WHERE product_number = ? RETURNING item_count",
            (product_number,),
        ).fetchall()[0][0]
        if not left:
            self._writer.execute("DELETE FROM products WHERE product_number = ?", (product_number,))
            group.added_products -= 1

    # Reading

    def items(self, row_numbers: Sequence[int]) -> dict[int, bytes]:
        """Returns the items of the rows that exist, by row number."""
        with storage_errors(self._generation), self._readers.connection() as connection:
            return dict(
                connection.execute(
                    "SELECT row_number, item FROM rows WHERE row_number IN (SELECT value FROM json_each(?))",
                    (json.dumps(row_numbers),),
                )
            )

    def row_number(self, item_id: str) -> int | None:
        """Returns the number of an item's row; None: there is none."""
        with storage_errors(self._generation), self._readers.connection() as connection:
            number: int | None = connection.execute(
                "SELECT row_number FROM rows WHERE item_id = ?", (item_id,)
            ).get
            return number

    def siblings(self, row_number: int) -> IndexEntries:
        """Returns the other rows of a row's product."""
        with storage_errors(self._generation), self._readers.connection() as connection:
            rows: list[Any] = connection.execute(
                "SELECT other.row_number, other.product_number, other.item, other.vector"
                " FROM rows AS own JOIN rows AS other USING (product_number)"
                " WHERE own.row_number = ?1 AND other.row_number <> ?1 ORDER BY other.row_number",
                (row_number,),
            ).fetchall()
        data = b"".join(row[3] for row in rows)
        return IndexEntries(
            [row[0] for row in rows],
            [row[1] for row in rows],
            np.frombuffer(data, WIRE_DTYPE).reshape(-1, self.spec.dimension),
            [row[2] for row in rows],
        )

    def get(self, item_ids: Sequence[str], include_vectors: bool) -> list[StoredRow]:
        """Returns the rows that exist, in the order of ``item_ids``."""
        vector = "vector" if include_vectors else "NULL"
        with storage_errors(self._generation), self._readers.connection() as connection:
            found = {
                item_id: StoredRow(*row)
                for item_id, *row in connection.execute(
                    f"SELECT item_id, item, version, update_time_ns, {vector} FROM rows"
                    " WHERE item_id IN (SELECT value FROM json_each(?))",
                    (json.dumps(item_ids),),
                )
            }
        return [found[item_id] for item_id in item_ids if item_id in found]

    def page(
        self, after_item_id: str, limit: int, include_vectors: bool, max_bytes: int
    ) -> tuple[list[StoredRow], bool]:
        """Returns the rows after an item id, in the byte order of the ids, and whether more follow.

        At most ``limit`` rows, and fewer where they would be more than ``max_bytes`` together; at least one.
        """
        vector = "vector" if include_vectors else "NULL"
        rows: list[StoredRow] = []
        size = 0
        with storage_errors(self._generation), self._readers.connection() as connection:
            cursor = connection.execute(
                f"SELECT item, version, update_time_ns, {vector} FROM rows WHERE item_id > ?"
                " ORDER BY item_id LIMIT ?",
                (after_item_id, limit + 1),
            )
            for values in cursor:
                row = StoredRow(*values)
                size += len(row.item) + len(row.vector or b"")
                if len(rows) == limit or (rows and size > max_bytes):
                    cursor.close()
                    return rows, True
                rows.append(row)
        return rows, False

    def index_entries(self, after_position: int) -> IndexEntries:
        """Returns what the index has to hold of the rows written after a position; 0: of all rows."""
        where = "" if after_position == 0 else "WHERE position > :after"
        with storage_errors(self._generation), self._readers.connection() as connection, connection:
            count = connection.execute(f"SELECT count(*) FROM rows {where}", {"after": after_position}).get
            vectors = np.empty((count, self.spec.dimension), dtype=np.float32)
            entries = IndexEntries([], [], vectors, [])
            rows: Iterator[tuple[int, int, bytes, bytes]] = connection.execute(
                f"SELECT row_number, product_number, item, vector FROM rows {where} ORDER BY row_number",
                {"after": after_position},
            )
            for i, (number, product, item, vector) in enumerate(rows):
                entries.row_numbers.append(number)
                entries.product_numbers.append(product)
                entries.items.append(item)
                if len(vector) != vectors.strides[0]:
                    raise damaged(self._generation, f"row {number} has a vector of {len(vector)} bytes")
                vectors[i] = np.frombuffer(vector, WIRE_DTYPE)
        return entries

    def deletions(self, after_position: int) -> list[int]:
        """Returns the numbers of the rows that were deleted after a position the index was saved at."""
        with storage_errors(self._generation), self._readers.connection() as connection:
            return [
                number
                for (number,) in connection.execute(
                    "SELECT row_number FROM deletions WHERE position > ?", (after_position,)
                )
            ]

    def close(self) -> None:
        """Closes the file."""
        with self._write_lock:
            self._readers.close()
            self._writer.close()


def hash_payload(payload: bytes) -> bytes:
    """Returns what tells two contents of one request id apart."""
    return hashlib.sha256(payload).digest()


def _encode_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    rows = [(outcome.version, outcome.existed, outcome.conflict) for outcome in outcomes]
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), level=1)


def _decode_outcomes(data: bytes) -> tuple[Outcome, ...]:
    return tuple(Outcome(*row) for row in json.loads(zlib.decompress(data)))
