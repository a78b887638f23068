"""One shard: the generations in a data folder that belongs to one process."""

from __future__ import annotations

import re
import shutil
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import structlog

from hasher.generation import Generation
from hasher.index_files import sync_folder
from hasher.rows.sqlite import storage_errors
from hasher.rows.store import RowStore
from lookalike.collections import Spec
from lookalike.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    NotFoundError,
    Reason,
    UnavailableError,
)
from lookalike.files.locks import LOCK_FILE, FolderLock
from lookalike.files.sqlite import check_sqlite_version
from lookalike.placement import partition_of, shard_of

LOADING = "the generations are still being loaded"
_CREATING, _DROPPED = ".creating-", ".dropped-"
_GENERATION_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
log = structlog.get_logger()


class Shard:
    """The generations of one shard. Every method may be called from any thread.

    Args:
        folder: Its data folder; made if it is missing.
        number: Number of the shard, 0 <= number < count.
        count: Shards that there are.
        max_pending: Changes of one generation that may wait for their commit.
        on_commit: Told the seconds of each commit.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        count: int,
        *,
        max_pending: int = 256,
        on_commit: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.number, self.count = number, count
        self._folder = folder
        self._max_pending = max_pending
        self._on_commit = on_commit
        self._generations: dict[str, Generation] = {}
        self._layout_lock = threading.Lock()
        self._lock: FolderLock | None = None
        self._loaded = False

    def lock(self) -> None:
        """Takes the data folder for this process.

        Raises:
            FailedPreconditionError: Another process has it (``CONFIG_INVALID``).
            InvalidInputError: It cannot be made or written, or SQLite is too old (``CONFIG_INVALID``).
        """
        check_sqlite_version()
        self._lock = FolderLock(self._folder, "hasher")

    def load(self) -> None:
        """Opens every generation in the folder; the shard is ready when it returns.

        Raises:
            DataLossError: A row file is damaged.
            FailedPreconditionError: The rows belong to another shard layout (``SHARD_LAYOUT_MISMATCH``).
        """
        with self._layout_lock:
            for entry in sorted(self._folder.iterdir()):
                if entry.name.startswith((_CREATING, _DROPPED)):
                    shutil.rmtree(entry)
                elif entry.is_dir() and _GENERATION_NAME.fullmatch(entry.name):
                    generation = self._generations[entry.name] = self._open(entry.name)
                    log.info("generation_loaded", generation=entry.name, items=generation.store.item_count)
                elif entry.name != LOCK_FILE:
                    log.warning("unknown_entry_ignored", entry=entry.name)
            self._loaded = True

    def _open(self, name: str) -> Generation:
        generation = Generation(
            self._folder / name, name, max_pending=self._max_pending, on_commit=self._on_commit
        )
        store = generation.store
        if (store.shard, store.shard_count) != (self.number, self.count):
            generation.close(save=False)
            raise FailedPreconditionError(
                f"generation {name} holds the rows of shard {store.shard} of {store.shard_count}, but this is"
                f" shard {self.number} of {self.count}",
                reason=Reason.SHARD_LAYOUT_MISMATCH,
            )
        return generation

    def not_ready_reason(self) -> str:
        """Returns "" when every generation is loaded and takes writes, else why not."""
        if not self._loaded:
            return LOADING
        failed = [generation for generation in self.generations() if generation.failure]
        return f"generation {failed[0].name}: {failed[0].failure}" if failed else ""

    def generation(self, name: str) -> Generation:
        """Returns a generation.

        Raises:
            InvalidInputError: The name is none that a generation can have.
            NotFoundError: There is no such generation.
            UnavailableError: The shard is still loading.
        """
        self._check_name(name)
        found = self._generations.get(name)
        if found is None:
            raise NotFoundError(f"no generation {name} on this shard", reason=Reason.COLLECTION_NOT_FOUND)
        return found

    def generations(self) -> list[Generation]:
        """Returns all generations by name."""
        return [generation for _, generation in sorted(self._generations.copy().items())]

    def item_count(self) -> int:
        """Returns the number of rows of all generations."""
        return sum(generation.store.item_count for generation in self.generations())

    def check_placement(self, item_id: str, spec: Spec, field: str) -> None:
        """Checks that an item belongs here.

        Raises:
            FailedPreconditionError: It belongs to another shard (``SHARD_LAYOUT_MISMATCH``).
        """
        right = shard_of(partition_of(item_id, spec.partition_count), self.count)
        if right != self.number:
            raise FailedPreconditionError(
                f"item {item_id!r} belongs to shard {right} of {self.count}, not to shard {self.number}",
                reason=Reason.SHARD_LAYOUT_MISMATCH,
                field=field,
            )

    def create(self, name: str, spec: Spec) -> int:
        """Creates a generation, or finds it there with the same spec, and returns its position.

        Raises:
            InvalidInputError: The name is none that a generation can have.
            AlreadyExistsError: It exists with another spec.
            UnavailableError: The shard is still loading.
        """
        self._check_name(name)
        with self._layout_lock:
            found = self._generations.get(name)
            if found is None:
                # A folder gets its final name when it is complete: a crash leaves nothing half made.
                creating = self._folder / f"{_CREATING}{name}"
                shutil.rmtree(creating, ignore_errors=True)
                creating.mkdir()
                with storage_errors(name):
                    RowStore.create(creating, spec, self.number, self.count)
                sync_folder(creating)
                creating.rename(self._folder / name)
                sync_folder(self._folder)
                found = self._generations[name] = self._open(name)
                log.info("generation_created", generation=name)
            elif found.spec != spec:
                raise AlreadyExistsError(f"generation {name} exists with another spec")
            return found.position

    def drop(self, name: str) -> int:
        """Deletes a generation with all rows and returns its last position; 0: there was none.

        Raises:
            InvalidInputError: The name is none that a generation can have.
            UnavailableError: The shard is still loading.
        """
        self._check_name(name)
        with self._layout_lock:
            found = self._generations.pop(name, None)
            if found is None:
                return 0
            found.close(save=False)
            dropped = self._folder / f"{_DROPPED}{uuid.uuid4().hex}"
            (self._folder / name).rename(dropped)
            sync_folder(self._folder)
            shutil.rmtree(dropped, ignore_errors=True)
            log.info("generation_dropped", generation=name)
            return found.position

    def checkpoint(self) -> None:
        """Saves the indexes that have changed; one that cannot be saved is logged and tried again later."""
        for generation in self.generations():
            with self._layout_lock:
                if self._generations.get(generation.name) is not generation:
                    continue
                try:
                    generation.checkpoint()
                except (OSError, LookalikeError) as error:
                    log.warning("index_not_saved", generation=generation.name, reason=str(error))

    def close(self) -> None:
        """Applies what is queued, saves the indexes, closes the files and gives the folder free."""
        with self._layout_lock:
            for generation in self.generations():
                generation.close(save=self._loaded)
            self._generations.clear()
            self._loaded = False
            if self._lock:
                self._lock.release()

    def _check_name(self, name: str) -> None:
        if not _GENERATION_NAME.fullmatch(name):
            raise InvalidInputError(
                f"generation {name!r} is no valid name: 1 to 128 characters a-z, 0-9, '.', '_' and '-',"
                " starting with a letter or digit",
                field="generation",
            )
        self.check_loaded()

    def check_loaded(self) -> None:
        """Makes sure that every generation is known.

        Raises:
            UnavailableError: The shard is still loading.
        """
        if not self._loaded:
            raise UnavailableError(f"the shard cannot answer yet: {LOADING}", retry_after_seconds=1.0)
