"""Applying records of the log to the tables.

Time, version and order come from the records: no clock is read and no position is counted here, so that the
same records make the same rows wherever and in whatever groups they are applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import apsw

from hasher.log.base import Applied, Delete, Outcome, Record
from hasher.rows import requests
from hasher.rows.records import IndexEntry
from hasher.rows.requests import WINDOW_NS, Known, Placed
from hasher.rows.schema import set_meta
from hasher.rows.sqlite import disk_full
from hasher.rows.writer import NewRow, RowState, RowWriter, Stamp
from lookalike.errors import InvalidInputError, LookalikeError, Reason
from lookalike.placement import partition_of


class Lane(NamedTuple):
    """The position and time of the last record of a lane that changed something. Time never goes back."""

    position: int
    time_ns: int


@dataclass(slots=True)
class Group:
    """What one transaction does: a result for each record, and what the index has to follow.

    A record that only repeats what was done changes nothing, not even how far its lane was applied: ``lanes``
    and ``revision`` are those of the last record that did.
    """

    revision: int
    lanes: dict[int, Lane]
    reached: dict[int, int]
    """Lane → position of the last record, whatever became of it."""
    only_deletions: bool = False
    """Whether the disk has no space for rows."""
    results: list[Applied | LookalikeError] = field(default_factory=list)
    entries: dict[int, IndexEntry | None] = field(default_factory=dict)
    """Row number to its new index entry; None: the row is gone."""
    added_items: int = 0
    added_products: int = 0
    sql_seconds: float = 0.0
    sync_seconds: float = 0.0
    """What its commit took, fsync included."""


class Applier:
    """Applies records in one transaction, which the caller opens and commits.

    Args:
        connection: Writes.
        partition_count: Partitions of the collection.
        group: Where the records begin; notes what is done.
    """

    def __init__(self, connection: apsw.Connection, partition_count: int, group: Group) -> None:
        self._connection = connection
        self._rows = RowWriter(connection)
        self._partition_count = partition_count
        self._group = group
        self._partitions: dict[int, tuple[int, int]] = {}
        self._changed: set[int] = set()
        """Lanes with records that change something."""
        self._record: Record

    def apply(self, records: Sequence[Record]) -> None:
        """Applies records in their order.

        A record whose request id is known gets its first answer again in the partitions that have applied it,
        or an error where its content differs.

        Raises:
            UnavailableError: One of them writes a row, for which the disk has no space (``DISK_FULL``).
            ValueError: A record's position is not above the one before in its lane.
        """
        group = self._group
        for record in records:
            if record.position <= group.reached.get(record.lane, 0):
                raise ValueError(f"position {record.position} of lane {record.lane} was applied before")
            group.reached[record.lane] = record.position
            group.results.append(self._apply_once(record))
        group.added_items, group.added_products = self._rows.added_items, self._rows.added_products
        if self._changed:
            self._write_log()

    def _write_log(self) -> None:
        group = self._group
        self._connection.executemany(
            "INSERT INTO partitions VALUES (?1, ?2, ?3)"
            " ON CONFLICT (partition) DO UPDATE SET lane = ?2, position = ?3",
            ((partition, *place) for partition, place in self._partitions.items()),
        )
        for number in self._changed:
            lane = group.lanes[number]
            self._connection.execute("INSERT OR REPLACE INTO lanes VALUES (?, ?, ?)", (number, *lane))
            requests.forget(self._connection, number, lane.time_ns - WINDOW_NS)
        set_meta(self._connection, revision=group.revision)

    def _apply_once(self, record: Record) -> Applied | LookalikeError:
        change = record.change
        before_ns = self._group.lanes[record.lane].time_ns if record.lane in self._group.lanes else 0
        time_ns = max(record.time_ns, before_ns)
        placed = [
            Placed(partition_of(mutation.item_id, self._partition_count), mutation)
            for mutation in change.mutations
        ]
        known = requests.find(self._connection, change.request_id, record.lane, time_ns - WINDOW_NS)
        if known and not known.answers(change.payload_hash, placed):
            self._begin(record, time_ns)
            requests.refuse(self._connection, record.lane, record.position, time_ns)
            return reused()
        rest = [one for one in placed if known is None or one.partition not in known]
        if known and not rest:
            return Applied(known.position, known.outcomes_of(placed))
        self._begin(record, time_ns)
        for partition, _ in rest:
            self._partitions[partition] = (record.lane, record.position)
        done = list(zip(rest, self._mutate(rest), strict=True))
        known = Known.of(change.payload_hash, record.position, done, known)
        requests.remember(self._connection, change.request_id, record.lane, time_ns, known)
        return Applied(record.position, known.outcomes_of(placed))

    def _begin(self, record: Record, time_ns: int) -> None:
        """Goes on to a record that changes something."""
        self._record = record
        self._changed.add(record.lane)
        self._group.lanes[record.lane] = Lane(record.position, time_ns)
        self._group.revision += 1

    def _mutate(self, placed: Sequence[Placed]) -> list[Outcome]:
        """Applies mutations of different items, and returns what became of each."""
        found = self._rows.find([mutation.item_id for _, mutation in placed])
        outcomes, written, gone = [], [], []
        for partition, mutation in placed:
            row = found.get(mutation.item_id)
            version = row.version if row else 0
            if mutation.if_version is not None and mutation.if_version != version:
                outcomes.append(Outcome(version, existed=row is not None, conflict=True))
                continue
            if isinstance(mutation, Delete):
                version = 0
                if row:
                    gone.append(row)
            else:
                # The position alone would not grow for a row that came from a shard with a longer log.
                version = max(self._record.position, version + 1)
                written.append(NewRow(mutation, partition, version, row))
            outcomes.append(Outcome(version, existed=row is not None))
        self._write(written)
        self._delete(gone)
        return outcomes

    def _write(self, rows: Sequence[NewRow]) -> None:
        if not rows:
            return
        group, record = self._group, self._record
        if group.only_deletions:
            raise disk_full("it takes no items, only deletions")
        stamp = Stamp(record.position, group.revision, group.lanes[record.lane].time_ns)
        for row, (number, product) in zip(rows, self._rows.write(rows, stamp), strict=True):
            upsert = row.upsert
            group.entries[number] = IndexEntry(upsert.vector, product, upsert.attributes, upsert.document)

    def _delete(self, rows: Sequence[RowState]) -> None:
        if rows:
            self._rows.delete(rows, self._group.revision)
            self._group.entries.update((row.number, None) for row in rows)


def reused() -> InvalidInputError:
    """Returns the error of a request id that was used for something else."""
    return InvalidInputError(
        "the request_id was already used with other content: use a new one",
        reason=Reason.REQUEST_ID_REUSED,
        field="request_id",
    )
