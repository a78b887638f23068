"""One generation of a collection on one shard: its rows, its index, and what keeps the two together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import compress
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from hasher.attributes import attributes_of, index_attributes
from hasher.index import NO_ID, HashIndex, SearchResult
from hasher.index_files import load_index, save_index
from hasher.log.direct import GroupCommitter
from hasher.rows.records import (
    Applied,
    Change,
    GenerationStats,
    Hit,
    IndexEntry,
    SearchAnswer,
    SearchQuery,
    StoredRow,
)
from hasher.rows.store import RowStore
from lookalike.collections import Spec
from lookalike.errors import LookalikeError, UnavailableError

_Candidates = list[tuple[float, int]]
log = structlog.get_logger()


class Generation:
    """Durable rows with an index over them that follows every commit.

    Args:
        folder: The generation's folder.
        name: Its name.
        max_pending: Changes that may wait for their commit.
        on_commit: Told the seconds of each commit.

    Raises:
        DataLossError: The row file is damaged.
    """

    def __init__(
        self, folder: Path, name: str, *, max_pending: int, on_commit: Callable[[float], None]
    ) -> None:
        self.name = name
        self._folder = folder
        self._on_commit = on_commit
        self.store = RowStore(folder, name)
        self._index: HashIndex = load_index(self.store, folder, name)
        self._position = self.store.position
        self._position_lock = threading.Lock()
        self._waiting: list[tuple[int, Future[None]]] = []
        self._checkpoint_lock = threading.Lock()
        self.failure = ""
        """Why no write is taken any more until a restart; empty: all is well."""
        self._committer = GroupCommitter(self._apply, max_pending)

    @property
    def spec(self) -> Spec:
        """What the generation is made for."""
        return self.store.spec

    @property
    def position(self) -> int:
        """The position that searches rest on."""
        return self._position

    def stats(self) -> GenerationStats:
        """Returns the present state."""
        index = self._index.stats()
        return GenerationStats(
            name=self.name,
            spec=self.spec,
            item_count=self.store.item_count,
            product_count=self.store.product_count,
            position=self._position,
            index_bytes=index["code_bytes"]
            + index["vector_bytes"]
            + index["bucket_bytes"]
            + index["attribute_bytes"],
        )

    # Writing

    def submit(self, change: Change) -> Future[Applied]:
        """Queues a change; it is durable and searchable when the future is done.

        Raises:
            OverloadedError: Too many changes wait.
            UnavailableError: The generation is closing.
        """
        return self._committer.submit(change)

    def wait_for(self, position: int) -> Future[None]:
        """Returns a future that is done once searches rest on at least ``position``."""
        future: Future[None] = Future()
        with self._position_lock:
            if position <= self._position:
                future.set_result(None)
            else:
                self._waiting = [entry for entry in self._waiting if not entry[1].done()]
                self._waiting.append((position, future))
        return future

    def _apply(self, changes: Sequence[Change]) -> Sequence[Applied | LookalikeError]:
        if self.failure:
            raise UnavailableError(f"generation {self.name} takes no writes until a restart: {self.failure}")
        start = time.perf_counter()
        try:
            group = self.store.apply(changes)
        except UnavailableError:
            raise
        except Exception:
            # After a failed write or fsync nobody knows what is on the disk; a restart reads it afresh.
            self._fail("its rows could not be written")
            raise
        self._on_commit(time.perf_counter() - start)
        try:
            self._update_index(group.entries)
        except Exception:
            self._fail("its index could not follow a write")
            raise
        self._advance(group.position)
        return group.results

    def _fail(self, failure: str) -> None:
        self.failure = failure
        log.exception("generation_failed", generation=self.name, reason=failure)

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
                attributes=index_attributes(entry.item for entry in written.values()),
            )

    def _advance(self, position: int) -> None:
        with self._position_lock:
            self._position = position
            reached = [future for wanted, future in self._waiting if wanted <= position]
            self._waiting = [entry for entry in self._waiting if entry[0] > position]
        for future in reached:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    # Reading

    def search(self, query: SearchQuery) -> SearchAnswer:
        """Finds the nearest rows to each vector of a query; blocks for the length of the search."""
        position = self._position
        codes_total = self.store.item_count
        excluded = self.store.row_number(query.exclude_item_id) if query.exclude_item_id else None
        found = self._index.search_detailed(
            query.vectors,
            query.k if excluded is None else query.k + 1,
            probes=query.probes,
            effort=query.effort,
            filter=query.filter,
            exact=query.exact,
            group=query.group,
            threads=1,
        )
        start = time.perf_counter()
        candidates = _candidates(found)
        if excluded is not None:
            self._leave_out(excluded, candidates, query)
        numbers = list({number for row in candidates for _, number in row})
        # A row that was deleted since the index was asked is not among the items, and drops out.
        items = self.store.items(numbers) if numbers else {}
        hits = [
            [Hit(score, items[number]) for score, number in row if number in items][: query.k]
            for row in candidates
        ]
        seconds = dict(found.seconds)
        seconds["fetch"] = time.perf_counter() - start
        # Rows that are no longer found are looked at too.
        scanned = np.minimum(found.codes_scanned, codes_total).tolist()
        return SearchAnswer(hits, scanned, codes_total, position, seconds)

    def _leave_out(self, excluded: int, candidates: list[_Candidates], query: SearchQuery) -> None:
        """Takes a row out of the candidates; another row of its product takes its place where grouped."""
        affected = [i for i, row in enumerate(candidates) if any(number == excluded for _, number in row)]
        for i in affected:
            candidates[i] = [entry for entry in candidates[i] if entry[1] != excluded]
        if not (query.group and affected):
            return
        siblings = self.store.siblings(excluded)
        numbers, vectors = siblings.row_numbers, siblings.vectors
        if query.filter is not None:
            passing = [query.filter.passes(*attributes_of(item)) for item in siblings.items]
            numbers, vectors = list(compress(numbers, passing)), vectors[passing]
        if not numbers:
            return
        scores: NDArray[np.float32] = query.vectors[affected] @ vectors.T
        for i, row_scores in zip(affected, scores, strict=True):
            best = int(row_scores.argmax())
            candidates[i].append((float(row_scores[best]), numbers[best]))
            candidates[i].sort(key=lambda entry: -entry[0])

    def get(self, item_ids: Sequence[str], include_vectors: bool) -> list[StoredRow]:
        """Returns the rows that exist, in the order of ``item_ids``."""
        return self.store.get(item_ids, include_vectors)

    def page(
        self, after_item_id: str, limit: int, include_vectors: bool, max_bytes: int
    ) -> tuple[list[StoredRow], bool]:
        """Returns rows in the byte order of their item ids; see :meth:`RowStore.page`."""
        return self.store.page(after_item_id, limit, include_vectors, max_bytes)

    # Life

    def checkpoint(self) -> None:
        """Saves the index unless the saved one is the present one; writes and searches go on meanwhile.

        Raises:
            OSError: The files cannot be written.
        """
        with self._checkpoint_lock:
            position = self._position
            if position != self.store.index_position and not self.failure:
                save_index(self._index, self.store, self._folder, position)

    def close(self, *, save: bool) -> None:
        """Applies what is queued, saves the index if asked to, and closes the files."""
        self._committer.close()
        try:
            if save:
                self.checkpoint()
        except OSError as error:
            # The rows are safe and the index can be rebuilt from them.
            log.warning("index_not_saved", generation=self.name, reason=str(error))
        finally:
            self.store.close()


def _candidates(found: SearchResult) -> list[_Candidates]:
    return [
        [(score, number) for score, number in zip(scores, numbers, strict=True) if number != NO_ID]
        for scores, numbers in zip(found.scores.tolist(), found.ids.tolist(), strict=True)
    ]
