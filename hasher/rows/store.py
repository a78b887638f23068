"""The rows of one generation in SQLite: the truth that the index is derived from."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import apsw
import numpy as np
import structlog
from google.protobuf.message import DecodeError

from hasher.attributes import ItemAttributes, attributes_of
from hasher.documents import document_of
from hasher.log.base import Outcome, Record
from hasher.rows import requests
from hasher.rows.apply import Applier, Group, Lane, reused
from hasher.rows.migrations import migrate
from hasher.rows.records import Creation, IndexEntries, StoredRow, VectorRows
from hasher.rows.schema import SCHEMA_VERSION, Meta, create_tables, set_meta
from hasher.rows.sqlite import (
    WAL_LIMIT_BYTES,
    ReaderPool,
    damaged,
    open_writer,
    restart_wal,
    size_of,
    storage_errors,
)
from hasher.rows.syncs import Synced, SyncWatch, unwatched
from lookalike.collections import Spec
from lookalike.errors import NotFoundError, Reason, UnavailableError
from lookalike.files.disk import WrittenFiles
from lookalike.files.open_files import open_files_error
from lookalike.files.sqlite import make_durable, transaction
from lookalike.v1 import types_pb2
from lookalike.wire.vectors import WIRE_DTYPE

ROWS_FILE = "rows.sqlite"
_RESTART_PATIENCE_SECONDS = 1.0
_CHUNK_ROWS = 1024
_SAMPLE_ROUNDS = 4
log = structlog.get_logger()


class RowStore:
    """The row file of one generation.

    One thread at a time writes (a lock sees to it); any number of threads read, each over a connection of its
    own, and see only what is committed. What is read from the file is on the disk: it is brought there when
    the file is opened. A file of an earlier schema is migrated then.

    Args:
        folder: The generation's folder.
        generation: Its name, for errors.
        synced: Takes the time of each fsync once the file is open.

    Raises:
        DataLossError: The file is missing or damaged.
        FailedPreconditionError: A newer version wrote it (``CONFIG_INVALID``).
        UnavailableError: The disk is full, or another process uses the file.
    """

    def __init__(self, folder: Path, generation: str, synced: Synced = unwatched) -> None:
        self._path = folder / ROWS_FILE
        self._generation = generation
        self._synced = synced
        self._write_lock = threading.Lock()
        self._closed = False
        if not self._path.is_file():
            raise damaged(generation, "rows.sqlite is missing")
        with storage_errors(generation):
            try:
                self._writer = open_writer(self._path)
            except apsw.CantOpenError as error:
                if open_files_error(error):
                    raise
                raise damaged(generation, f"it cannot be opened: {error}") from error
        try:
            with storage_errors(generation, self._writer):
                self._open()
        except BaseException:
            self._writer.close()
            raise
        self._readers = ReaderPool(self._path, generation)

    @staticmethod
    def create(folder: Path, creation: Creation, generation: str) -> None:
        """Writes the row file of a new generation, without rows.

        Raises:
            UnavailableError: The disk is full, or no file can be opened any more.
        """
        with storage_errors(generation):
            connection = open_writer(folder / ROWS_FILE, create=True)
        try:
            with storage_errors(generation, connection), transaction(connection):
                create_tables(connection, creation)
        finally:
            connection.close()

    def _open(self) -> None:
        try:
            found = migrate(self._writer, self._generation)
            meta = Meta.read(self._writer)
        except (apsw.SQLError, KeyError, TypeError, ValueError) as error:
            raise damaged(self._generation, f"unreadable metadata: {error}") from error
        if found != SCHEMA_VERSION:
            log.info("rows_migrated", generation=self._generation, found=found, schema=SCHEMA_VERSION)
        make_durable(self._writer)
        self._meta = meta
        self.installation_id = meta.installation_id
        self.creation_request_id = meta.creation_request_id
        self.revision, self.index_revision = meta.revision, meta.index_revision
        self._lanes = {
            lane: Lane(position, time_ns)
            for lane, position, time_ns in self._writer.execute("SELECT lane, position, time_ns FROM lanes")
        }
        self._reached = self.positions
        self.item_count: int = self._writer.execute("SELECT count(*) FROM rows").get
        self.product_count: int = self._writer.execute("SELECT count(*) FROM products").get
        self._wal = Path(self._writer.filename_wal)
        self._restart_above = WAL_LIMIT_BYTES
        self._files = WrittenFiles(self._path, self._wal)
        self._syncs = SyncWatch(self._writer, self._synced)

    @property
    def spec(self) -> Spec:
        """What the generation is made for."""
        return self._meta.spec

    @property
    def layout(self) -> tuple[int, int]:
        """Number of the shard that the rows are of, and how many shards there are."""
        return self._meta.shard, self._meta.shard_count

    @property
    def log_id(self) -> str:
        """The log that the positions are of."""
        return self._meta.log_id

    @property
    def positions(self) -> dict[int, int]:
        """Lane → position of the last record that changed something."""
        return {number: lane.position for number, lane in self._lanes.items()}

    # Writing

    def apply(self, records: Sequence[Record], *, only_deletions: bool = False) -> Group:
        """Applies records in their order, in one transaction; they are on the disk when it returns.

        ``only_deletions`` takes the disk for full where a row is to be written.

        Raises:
            UnavailableError: The disk is full; nothing was applied.
            DataLossError: The file is damaged; nothing was applied.
        """
        with self._writing():
            group = Group(self.revision, dict(self._lanes), dict(self._reached), only_deletions)
            start = applied = time.perf_counter()
            with transaction(self._writer):
                Applier(self._writer, self.spec.partition_count, group).apply(records)
                applied = time.perf_counter()
            group.sql_seconds, group.sync_seconds = applied - start, time.perf_counter() - applied
            self.revision, self._lanes, self._reached = group.revision, group.lanes, group.reached
            self.item_count += group.added_items
            self.product_count += group.added_products
            return group

    def bound_wal(self) -> None:
        """Brings the write-ahead log back to its start where it has grown large.

        SQLite does so by itself only at a moment without readers, which busy ones leave none of. Called
        between commits. A reader that takes its time is not waited for: then it is tried again when the log
        has grown by a quarter more.
        """
        size = self.wal_bytes()
        if size <= self._restart_above:
            return
        with self._writing():
            if restart_wal(self._writer, _RESTART_PATIENCE_SECONDS):
                self._restart_above = WAL_LIMIT_BYTES
            else:
                self._restart_above = size + WAL_LIMIT_BYTES // 4

    def wal_bytes(self) -> int:
        """Returns the size of the write-ahead log."""
        return size_of(self._wal)

    def file_bytes(self) -> int:
        """Returns the size of the row file, without its write-ahead log."""
        return size_of(self._path)

    def growth_bytes(self) -> tuple[int, int]:
        """Returns by how much the row file will grow by what is in its log, and what it then has unused."""
        sizes = "SELECT page_size, page_count, freelist_count FROM pragma_page_size, pragma_page_count"
        with self._writing():
            size, count, unused = next(self._writer.execute(f"{sizes}, pragma_freelist_count"))
            return max(0, size * count - self.file_bytes()), size * unused

    def in_place(self) -> bool:
        """Whether the files that are written are still those in the folder."""
        return self._files.in_place()

    def record_index(self, revision: int) -> None:
        """Notes that the saved index holds everything up to ``revision``; 0: that none can be used.

        Raises:
            UnavailableError: The disk is full, or the store is closed.
        """
        with self._writing():
            with transaction(self._writer):
                set_meta(self._writer, index_revision=revision)
                self._writer.execute("DELETE FROM deletions WHERE revision <= ?", (revision,))
            self.index_revision = revision

    def join(self, installation_id: str) -> None:
        """Notes the installation of a file of the first schema, which had none."""
        with self._writing(), transaction(self._writer):
            set_meta(self._writer, installation_id=installation_id)
        self.installation_id = installation_id

    def note_creation(self, request_id: str) -> None:
        """Notes the request that made the generation, which the first schema did not keep."""
        with self._writing(), transaction(self._writer):
            set_meta(self._writer, creation_request_id=request_id)
        self.creation_request_id = request_id

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._write_lock:
            if self._closed:
                raise UnavailableError("the generation is closing", reason=Reason.SHUTTING_DOWN)
            try:
                with storage_errors(self._generation, self._writer):
                    yield
            finally:
                self._syncs.report()

    # Reading

    def outcomes(self, request_id: str, lane: int, position: int) -> Mapping[int, Sequence[Outcome]]:
        """Returns what became of a record's mutations, by partition, once it was applied.

        Raises:
            InvalidInputError: It was refused (``REQUEST_ID_REUSED``).
            NotFoundError: Nothing is known of it (``OUTCOME_NOT_FOUND``).
        """
        since_ns = self._lanes[lane].time_ns - requests.WINDOW_NS if lane in self._lanes else 0
        with self._readers.connection() as connection:
            if requests.was_refused(connection, lane, position):
                raise reused()
            known = requests.find(connection, request_id, lane, since_ns)
        if known is None:
            raise NotFoundError(
                "no outcome is kept of this request_id: it was never applied, or too long ago",
                reason=Reason.OUTCOME_NOT_FOUND,
                field="request_id",
            )
        return {partition: [one.outcome for one in kept] for partition, kept in known.partitions.items()}

    def vectors(self, row_numbers: Sequence[int]) -> Iterator[VectorRows]:
        """Returns the rows that exist with their vectors as they were written, some at a time."""
        with self._readers.connection() as connection:
            rows = connection.execute(
                "SELECT row_number, item_id, product_number, vector FROM rows"
                " WHERE row_number IN (SELECT value FROM json_each(?))",
                (json.dumps(row_numbers),),
            )
            while chunk := list(islice(rows, _CHUNK_ROWS)):
                numbers, item_ids, products, vectors = zip(*chunk, strict=True)
                width = self.spec.dimension * WIRE_DTYPE.itemsize
                if any(len(vector) != width for vector in vectors):
                    raise damaged(self._generation, f"a row has a vector of other than {width} bytes")
                matrix = np.frombuffer(b"".join(vectors), WIRE_DTYPE).reshape(-1, self.spec.dimension)
                yield VectorRows(numbers, item_ids, products, matrix)

    def sample(self, count: int) -> list[tuple[bytes, bytes]]:
        """Returns items and vectors of rows at random: ``count``, or fewer where many were deleted."""
        rows: dict[int, tuple[bytes, bytes]] = {}
        with self._readers.connection() as connection:
            last = connection.execute("SELECT max(row_number) FROM rows").get or 0
            for _ in range(_SAMPLE_ROUNDS if last > count else 1):
                numbers = random.sample(range(1, last + 1), min(count, last))
                found = connection.execute(
                    "SELECT row_number, item, vector FROM rows"
                    " WHERE row_number IN (SELECT value FROM json_each(?))",
                    (json.dumps(numbers),),
                )
                rows.update({number: (item, vector) for number, item, vector in found})
                if len(rows) >= count:
                    break
        return list(rows.values())[:count]

    def get(self, item_ids: Sequence[str], include_vectors: bool) -> list[StoredRow]:
        """Returns the rows that exist, in the order of ``item_ids``."""
        vector = "vector" if include_vectors else "NULL"
        with self._readers.connection() as connection:
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
        with self._readers.connection() as connection:
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

    def index_entries(self, after_revision: int) -> IndexEntries:
        """Returns what the index has to hold of the rows written after a revision; 0: of all rows.

        All come in the order of their numbers, others in that of their revisions.
        """
        # In the order of numbers SQLite would read all rows to find the few that were written since.
        where, order = ("", "row_number") if after_revision == 0 else ("WHERE revision > :after", "revision")
        with self._readers.connection() as connection, connection:
            count = connection.execute(f"SELECT count(*) FROM rows {where}", {"after": after_revision}).get
            vectors = np.empty((count, self.spec.dimension), dtype=np.float32)
            entries = IndexEntries([], [], vectors, [], [])
            rows: Iterator[tuple[int, int, bytes, bytes]] = connection.execute(
                f"SELECT row_number, product_number, item, vector FROM rows {where} ORDER BY {order}",
                {"after": after_revision},
            )
            for i, (number, product, item, vector) in enumerate(rows):
                entries.row_numbers.append(number)
                entries.product_numbers.append(product)
                attributes, document = self._indexed(item)
                entries.attributes.append(attributes)
                entries.documents.append(document)
                if len(vector) != vectors.strides[0]:
                    raise damaged(self._generation, f"row {number} has a vector of {len(vector)} bytes")
                vectors[i] = np.frombuffer(vector, WIRE_DTYPE)
        return entries

    def _indexed(self, item: bytes) -> tuple[ItemAttributes, bytes]:
        try:
            decoded = types_pb2.Item.FromString(item)
        except DecodeError:
            raise damaged(self._generation, "a row's item cannot be decoded") from None
        return attributes_of(decoded), document_of(decoded)

    def deletions(self, after_revision: int) -> list[int]:
        """Returns the numbers of the rows that were deleted after a revision the index was saved at."""
        with self._readers.connection() as connection:
            return [
                number
                for (number,) in connection.execute(
                    "SELECT row_number FROM deletions WHERE revision > ?", (after_revision,)
                )
            ]

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        with self._write_lock:
            self._closed = True
            self._readers.close()
            self._writer.close()
