"""One generation of a collection on one shard: its rows, its index, and what keeps the two together."""

from __future__ import annotations

import errno
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import structlog

from hasher.attributes import in_columns
from hasher.disk import DiskWatch
from hasher.index import HashIndex, IndexStats
from hasher.index_files import load_index, save_index
from hasher.log.base import Applied, Change, Log, Outcome, Record
from hasher.metrics import HasherMetrics
from hasher.profile import Profile, Profiler
from hasher.publishing import Publisher, Unpublished
from hasher.rows.apply import Group
from hasher.rows.records import GenerationStats, IndexEntry, StoredRow
from hasher.rows.sqlite import concerns_file
from hasher.rows.store import RowStore
from lookalike.collections import Spec
from lookalike.errors import LookalikeError, Reason, UnavailableError

_FLOAT32_BYTES = 4
_MANY_ROWS = 1000
"""Fewer are quickly indexed again, however small the index is."""
log = structlog.get_logger()


class Generation:
    """Durable rows with an index over them that follows the log.

    Args:
        folder: The generation's folder.
        name: Its name.
        log: Decides the order of changes.
        disk: Notes whether it is full.
        owns_folder: Whether the data folder still belongs to this process.
        metrics: Where it shows how long writes, checkpoints and loading take.
        publisher: Serves searches, too.

    Raises:
        DataLossError: The row file is damaged.
        FailedPreconditionError: A newer version wrote the row file.
        UnavailableError: The disk is full, or another process uses the row file.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        log: Log,
        *,
        disk: DiskWatch,
        owns_folder: Callable[[], bool],
        metrics: HasherMetrics,
        publisher: Publisher | None = None,
    ) -> None:
        self.name = name
        self._folder = folder
        self._log = log
        self._disk = disk
        self._owns_folder = owns_folder
        self._metrics = metrics
        self._publisher = publisher or Unpublished()
        start = time.perf_counter()
        self.store = RowStore(folder, name, metrics.synced)
        metrics.loaded("rows", time.perf_counter() - start)
        try:
            self._index, self._unsaved_rows = load_index(self.store, folder, name, metrics)
        except BaseException:
            self.store.close()
            raise
        self._profiler = Profiler(self.store)
        self._positions = self.store.positions
        self._revision = self.store.revision
        self._unsaved_since = time.monotonic()
        """When the first change that no saved index holds was applied, or loaded."""
        self._position_lock = threading.Lock()
        self._waiting: list[tuple[Mapping[int, int], Future[None]]] = []
        self._checkpoint_lock = threading.Lock()
        self._not_saved_at = -math.inf
        """When a checkpoint failed last."""
        self._closed = False
        self.failure = ""
        """Why no write is taken any more until a restart; empty: all is well."""

    def follow_log(self) -> None:
        """Applies every change from now on, once it is known that the rows belong here."""
        if self.store.log_id != self._log.log_id:
            self.fail(f"its rows follow the log {self.store.log_id}, not {self._log.log_id}")
        self._publisher.publish(self)
        self._log.follow(self.store.positions, self._apply)

    @property
    def spec(self) -> Spec:
        """What the generation is made for."""
        return self.store.spec

    @property
    def position(self) -> int:
        """The position that searches rest on, of lane 0."""
        return self._positions.get(0, 0)

    @property
    def positions(self) -> Mapping[int, int]:
        """Lane → position that searches rest on."""
        return self._positions

    @property
    def pending(self) -> int:
        """Changes that wait for their commit."""
        return self._log.pending()

    @property
    def unsaved_changes(self) -> int:
        """Changes that no saved index holds; a restart has to apply them again."""
        return self._revision - self.store.index_revision

    def unsaved_seconds(self) -> float:
        """Returns for how long there have been changes that no saved index holds; 0: there are none."""
        return time.monotonic() - self._unsaved_since if self.unsaved_changes else 0.0

    @property
    def index(self) -> HashIndex:
        """The index over the rows."""
        return self._index

    def index_stats(self) -> IndexStats:
        """Returns figures about the index."""
        return self._index.stats()

    def rebuild_bytes(self) -> int:
        """Returns the memory that training the index again takes for a while, unless that is under way.

        It makes a second index, from all vectors as float32, and needs half as much again for its work: 150
        MB were measured for 60,000 rows of 256, 400 MB for 170,000.
        """
        stats = self._index.stats()
        if stats["rebuilding"]:
            return 0
        return round(1.5 * (_index_bytes(stats) + stats["items"] * self.spec.dimension * _FLOAT32_BYTES))

    def profile(self) -> Profile | None:
        """Returns what the rows are like, by a sample; None: there are none."""
        return self._profiler.profile()

    def stats(self) -> GenerationStats:
        """Returns the present state."""
        index = self._index.stats()
        full = "the disk of the shard is full" if self._disk.is_full() else ""
        return GenerationStats(
            name=self.name,
            spec=self.spec,
            item_count=self.store.item_count,
            product_count=self.store.product_count,
            position=self.position,
            index_bytes=_index_bytes(index),
            log_id=self.store.log_id,
            failure=self.failure or full,
        )

    # Writing

    def submit(self, change: Change) -> Future[Applied]:
        """Appends a change to the log; it is durable and searchable when the future is done.

        Raises:
            OverloadedError: Too many changes wait.
            UnavailableError: The generation is closing.
        """
        return self._log.submit(change)

    def wait_for(self, positions: Mapping[int, int]) -> Future[None]:
        """Returns a future that is done once searches rest on at least these positions of lanes."""
        future: Future[None] = Future()
        with self._position_lock:
            if self.has_reached(positions):
                future.set_result(None)
            else:
                self._waiting = [entry for entry in self._waiting if not entry[1].done()]
                self._waiting.append((positions, future))
        return future

    def has_reached(self, positions: Mapping[int, int]) -> bool:
        """Whether searches rest on at least these positions of lanes."""
        return all(self._positions.get(lane, 0) >= position for lane, position in positions.items())

    def outcomes(self, request_id: str, lane: int, position: int) -> Mapping[int, Sequence[Outcome]]:
        """Returns what became of a record that was applied, by partition; see :meth:`RowStore.outcomes`."""
        return self.store.outcomes(request_id, lane, position)

    def _apply(self, records: Sequence[Record]) -> Sequence[Applied | LookalikeError]:
        if self.failure:
            raise self._takes_no_writes()
        self._bound_wal()
        group = self._commit(records)
        self._metrics.write_took("sql", group.sql_seconds)
        self._metrics.write_took("sync", group.sync_seconds)
        start = time.perf_counter()
        try:
            self._update_index(group.entries)
            self._metrics.write_took("index", time.perf_counter() - start)
        except BaseException as error:
            self.fail("its index could not follow a write", error)
            raise
        self._advance(group)
        return group.results

    def _commit(self, records: Sequence[Record]) -> Group:
        try:
            group = self.store.apply(records, only_deletions=not self._fit(records))
        except UnavailableError as error:
            if error.reason is Reason.DISK_FULL:
                self._disk.full()
            raise
        except BaseException as error:
            # After a failed write or fsync nobody knows what is on the disk; a restart reads it again. What
            # one change alone fails for leaves the file as it was.
            if concerns_file(error):
                self.fail("its rows could not be written", error)
            raise
        if any(group.entries.values()):
            self._disk.written()
        if self.has_failed():
            raise self._takes_no_writes()
        return group

    def _fit(self, records: Sequence[Record]) -> bool:
        """Whether there is space for the rows that records write: in the log, and then in the file."""
        needed_bytes = 2 * sum(record.change.row_bytes for record in records)
        if not needed_bytes:
            return True
        growth_bytes, unused_bytes = self.store.growth_bytes()
        return self._disk.has_room(growth_bytes + needed_bytes, reused=unused_bytes >= needed_bytes)

    def _bound_wal(self) -> None:
        try:
            self.store.bound_wal()
        except Exception as error:
            # What is committed is in the write-ahead log, whatever becomes of bringing it into the file.
            log.warning("wal_not_restarted", generation=self.name, reason=str(error))

    def has_failed(self) -> bool:
        """Whether no write is taken until a restart, as when its files are no longer in the data folder."""
        if not self.failure and not (self._owns_folder() and self.store.in_place()):
            self.fail("its files were deleted or replaced while it was running")
        return bool(self.failure)

    def fail(self, failure: str, cause: BaseException | None = None) -> None:
        """Takes no more writes until a restart."""
        self.failure = failure
        log.error("generation_failed", generation=self.name, reason=failure, exc_info=cause)

    def _takes_no_writes(self) -> UnavailableError:
        return UnavailableError(
            f"generation {self.name} takes no writes until the hasher is restarted: {self.failure}"
        )

    def _update_index(self, entries: dict[int, IndexEntry | None]) -> None:
        gone = [number for number, entry in entries.items() if entry is None]
        if gone:
            self._index.remove(np.array(gone, dtype=np.uint64))
        written = {number: entry for number, entry in entries.items() if entry is not None}
        if written:
            self._index.add(
                np.stack([entry.vector for entry in written.values()]),
                np.array(list(written), dtype=np.uint64),
                np.array([entry.product_number for entry in written.values()], dtype=np.uint64),
                attributes=in_columns(entry.attributes for entry in written.values()),
                documents=[entry.document for entry in written.values()],
            )

    def _advance(self, group: Group) -> None:
        with self._position_lock:
            self._positions = group.reached
            if not self.unsaved_changes:
                self._unsaved_since = time.monotonic()
            self._revision = group.revision
            self._unsaved_rows += len(group.entries)
            reached = [future for wanted, future in self._waiting if self.has_reached(wanted)]
            self._waiting = [entry for entry in self._waiting if not self.has_reached(entry[0])]
        self._publisher.advance(self.name, group.reached)
        for future in reached:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    # Reading

    def get(self, item_ids: Sequence[str], include_vectors: bool) -> list[StoredRow]:
        """Returns the rows that exist, in the order of ``item_ids``."""
        return self.store.get(item_ids, include_vectors)

    def page(
        self, after_item_id: str, limit: int, include_vectors: bool, max_bytes: int
    ) -> tuple[list[StoredRow], bool]:
        """Returns rows in the byte order of their item ids; see :meth:`RowStore.page`."""
        return self.store.page(after_item_id, limit, include_vectors, max_bytes)

    # Life

    def wants_checkpoint(self, interval_seconds: float) -> bool:
        """Returns whether a change has been unsaved for that long, or a third of the index is unsaved.

        So a start after a crash indexes at most a third of the items again, and loading a catalogue writes
        at most three times its index. A checkpoint that failed is tried again after the interval.
        """
        if time.monotonic() - self._not_saved_at < interval_seconds:
            return False
        many = max(_MANY_ROWS, len(self._index) // 3)
        return self.unsaved_seconds() >= interval_seconds or self._unsaved_rows > many

    def checkpoint(self) -> None:
        """Saves the index unless the saved one is the present one; writes and searches go on meanwhile.

        Raises:
            OSError: The files cannot be written.
            UnavailableError: The generation is closing, or the disk is full.
        """
        try:
            self._save()
        except BaseException:
            self._not_saved_at = time.monotonic()
            raise

    def _save(self) -> None:
        with self._checkpoint_lock:
            with self._position_lock:
                revision, unsaved_rows = self._revision, self._unsaved_rows
            if revision == self.store.index_revision or self._closed or self.has_failed():
                return
            stats = self._index.stats()
            if not self._disk.has_room(_index_bytes(stats) + stats["document_bytes"]):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))
            begun = time.monotonic()
            with self._metrics.checkpointing():
                save_index(self._index, self.store, self._folder, revision)
            # What it lacks came later.
            self._unsaved_since = begun
            with self._position_lock:
                self._unsaved_rows -= unsaved_rows

    def close(self, *, save: bool) -> None:
        """Applies what is queued, saves the index if asked to, and closes the files.

        Whatever goes wrong is logged: the rows are safe, and the index can be built again. A checkpoint that
        is under way is waited for only if the index is to be saved.
        """
        self._publisher.withdraw(self.name)
        for step in (self._log.close, *([self.checkpoint] if save else []), self._close_store):
            try:
                step()
            except BaseException as error:
                log.warning("generation_not_closed_cleanly", generation=self.name, reason=str(error))

    def _close_store(self) -> None:
        self._closed = True
        self.store.close()


def _index_bytes(stats: IndexStats) -> int:
    """Returns the memory of an index, apart from its documents, whose size is that of the items."""
    return stats["code_bytes"] + stats["vector_bytes"] + stats["bucket_bytes"] + stats["attribute_bytes"]
