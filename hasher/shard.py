"""One shard: the generations in a data folder that belongs to one process."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import structlog

from hasher.disk import DiskWatch
from hasher.folders import (
    OWN_FILES,
    UNFINISHED,
    check_generation_name,
    delete_folder,
    is_generation_name,
    make_folder,
)
from hasher.generation import Generation
from hasher.identity import Identity
from hasher.log.base import Log
from hasher.log.direct import DirectLog
from hasher.metrics import HasherMetrics, unserved
from hasher.progress import LoadProgress
from hasher.publishing import Publisher, Unpublished
from hasher.rows.records import Creation
from lookalike.collections import Spec
from lookalike.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
    Reason,
    UnavailableError,
)
from lookalike.files.disk import FULL, sync_folder
from lookalike.files.locks import FolderLock
from lookalike.files.sqlite import check_sqlite_version
from lookalike.limits import MAX_PARTITION_COUNT
from lookalike.placement import partition_of, shard_of

LOADING = "the generations are still being loaded"
log = structlog.get_logger()


class Shard:
    """The generations of one shard. Every method may be called from any thread.

    Args:
        folder: Its data folder; made if it is missing.
        number: Number of the shard, 0 <= number < count.
        count: Shards that there are.
        open_log: Makes the log of a generation, by its name.
        metrics: Where it shows how long things take.
        publisher: Serves searches, too.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        count: int,
        *,
        open_log: Callable[[str], Log] = lambda name: DirectLog(),
        metrics: HasherMetrics | None = None,
        publisher: Publisher | None = None,
    ) -> None:
        self.identity = Identity("", number, count)
        self.disk = DiskWatch(folder)
        self._folder = folder
        self._open_log = open_log
        self._metrics = metrics or unserved()
        self._publisher = publisher or Unpublished()
        self.progress = LoadProgress()
        self._generations: dict[str, Generation] = {}
        self._gone: set[str] = set()
        """Names of generations that were dropped; their creation may still be under way."""
        self._one_at_a_time = threading.Lock()
        """Held while a generation is made or deleted, or the shard closes; never while an index is saved."""
        self._lock: FolderLock | None = None
        self._loaded = False
        self._shard_of = lru_cache(MAX_PARTITION_COUNT)(lambda partition: shard_of(partition, count))

    def lock(self) -> None:
        """Takes the data folder for this process.

        Raises:
            FailedPreconditionError: Another process has it (``CONFIG_INVALID``), or it is of another shard or
                layout (``SHARD_LAYOUT_MISMATCH``).
            InvalidInputError: It cannot be made or written, or SQLite is too old (``CONFIG_INVALID``).
            DataLossError: It does not say of which shard it is.
        """
        check_sqlite_version()
        self._lock = FolderLock(self._folder, "hasher")
        kept = Identity.read(self._folder)
        if kept is None:
            return
        expected = (self.identity.shard, self.identity.shard_count)
        if (kept.shard, kept.shard_count) != expected:
            raise FailedPreconditionError(
                f"the data folder is that of shard {kept.shard} of {kept.shard_count}, but this is shard"
                f" {expected[0]} of {expected[1]}",
                reason=Reason.SHARD_LAYOUT_MISMATCH,
            )
        self.identity = kept
        self._publisher.become(kept)

    # Life

    def load(self) -> None:
        """Opens every generation in the folder; the shard is ready when it returns.

        Raises:
            DataLossError: A row file is damaged.
            FailedPreconditionError: The rows belong to another shard layout (``SHARD_LAYOUT_MISMATCH``) or
                installation (``INSTALLATION_MISMATCH``), or a newer version wrote them (``CONFIG_INVALID``).
            UnavailableError: The disk is full, or another process uses a row file.
        """
        with self._one_at_a_time:
            for entry in self.progress.over(sorted(self._folder.iterdir())):
                if entry.name.startswith(UNFINISHED):
                    shutil.rmtree(entry)
                elif entry.is_dir() and is_generation_name(entry.name):
                    generation = self._generations[entry.name] = self._open(
                        entry.name, self._open_log(entry.name)
                    )
                    log.info("generation_loaded", generation=entry.name, items=generation.store.item_count)
                elif entry.name not in OWN_FILES:
                    log.warning("unknown_entry_ignored", entry=entry.name)
            # A process that was killed may have made, dropped or joined something and not synced it.
            sync_folder(self._folder)
            self._join_generations()
            for generation in self.generations():
                generation.follow_log()
            self._loaded = True
            self._publisher.loaded()

    def _open(self, name: str, followed: Log) -> Generation:
        generation = Generation(
            self._folder / name,
            name,
            followed,
            disk=self.disk,
            owns_folder=self._owns_folder,
            metrics=self._metrics,
            publisher=self._publisher,
        )
        try:
            self._check_origin(generation)
        except BaseException:
            generation.close(save=False)
            raise
        return generation

    def _check_origin(self, generation: Generation) -> None:
        store, own = generation.store, self.identity
        if store.layout != (own.shard, own.shard_count):
            raise FailedPreconditionError(
                f"generation {generation.name} holds the rows of shard {store.layout[0]} of"
                f" {store.layout[1]}, but this is shard {own.shard} of {own.shard_count}",
                reason=Reason.SHARD_LAYOUT_MISMATCH,
            )
        if store.installation_id and not own.installation_id:
            # The file that says so was lost or not copied.
            self._become(own.joined(store.installation_id))
        elif store.installation_id not in ("", own.installation_id):
            raise FailedPreconditionError(
                f"generation {generation.name} belongs to installation {store.installation_id!r}, this"
                f" hasher to {own.installation_id!r}",
                reason=Reason.INSTALLATION_MISMATCH,
            )

    def checkpoint(self, interval_seconds: float = 0.0) -> None:
        """Saves the indexes that want it; see :meth:`Generation.wants_checkpoint`.

        One that cannot be saved is logged and tried again later.
        """
        for generation in self.generations():
            if not generation.wants_checkpoint(interval_seconds):
                continue
            try:
                generation.checkpoint()
            except BaseException as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    self.disk.full()
                if self._generations.get(generation.name) is generation:
                    self._metrics.checkpoint_failed()
                    log.warning("index_not_saved", generation=generation.name, reason=str(error))

    def close(self) -> None:
        """Applies what is queued, saves the indexes, closes the files and gives the folder free."""
        with self._one_at_a_time:
            loaded, self._loaded = self._loaded, False
            for generation in self.generations():
                generation.close(save=loaded)
            self._generations.clear()
            if self._lock:
                self._lock.release()

    # State

    def not_ready_reason(self) -> str:
        """Returns "" when every generation is loaded and takes writes, else why not.

        A full disk is not a reason; see :mod:`hasher.disk`.
        """
        if not self._loaded:
            return LOADING
        failed = [generation for generation in self.generations() if generation.has_failed()]
        if failed:
            return f"generation {failed[0].name}: {failed[0].failure}"
        return "" if self._owns_folder() else "the data folder was deleted or replaced while it was in use"

    def _owns_folder(self) -> bool:
        return self._lock is not None and self._lock.in_place()

    def check_loaded(self) -> None:
        """Makes sure that every generation is known.

        Raises:
            UnavailableError: The shard is still loading.
        """
        if not self._loaded:
            raise UnavailableError(f"the shard cannot answer yet: {LOADING}", retry_after_seconds=1.0)

    def generation(self, name: str) -> Generation:
        """Returns a generation.

        Raises:
            InvalidInputError: The name is malformed.
            NotFoundError: There is no such generation.
            UnavailableError: The shard is still loading.
        """
        self.check_name(name)
        found = self._generations.get(name)
        if found is None:
            raise NotFoundError(f"no generation {name} on this shard", reason=Reason.COLLECTION_NOT_FOUND)
        return found

    def has(self, name: str) -> bool:
        """Whether there is a generation of a name."""
        return name in self._generations

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
        right = self._shard_of(partition_of(item_id, spec.partition_count))
        if right != self.identity.shard:
            raise FailedPreconditionError(
                f"item {item_id!r} belongs to shard {right} of {self.identity.shard_count}, not to shard"
                f" {self.identity.shard}",
                reason=Reason.SHARD_LAYOUT_MISMATCH,
                field=field,
            )

    # Changes

    def join(self, installation_id: str, name: str) -> None:
        """Makes the shard part of an installation, durably, unless it is part of one.

        Generations of the first schema do not say whose they are: a shard that has some joins whoever knows
        one of them by name.

        Args:
            installation_id: The installation.
            name: The generation that it asks for.

        Raises:
            FailedPreconditionError: It is part of another one, or holds generations, but not this one
                (``INSTALLATION_MISMATCH``).
            UnavailableError: The disk is full.
        """
        if self.identity.installation_id == installation_id:
            return
        with self._one_at_a_time:
            if not self.identity.installation_id and self._generations and not self.has(name):
                raise FailedPreconditionError(
                    "this hasher holds generations of an earlier version, which do not say whose they are: it"
                    " joins the installation that writes to one of them, or deletes one",
                    reason=Reason.INSTALLATION_MISMATCH,
                    field="target",
                )
            joined = self.identity.joined(installation_id)
            self.identity.check(joined)
            self._become(joined)
            self._join_generations()

    def _become(self, identity: Identity) -> None:
        with self.disk.writing("it cannot note the installation that it belongs to"):
            identity.write(self._folder)
        self.identity = identity
        self._publisher.become(identity)
        log.info("installation_joined", installation_id=identity.installation_id)

    def _join_generations(self) -> None:
        """Makes generations of the first schema part of the installation."""
        for generation in self.generations():
            if self.identity.installation_id and not generation.store.installation_id:
                generation.store.join(self.identity.installation_id)

    def create(self, name: str, spec: Spec, request_id: str) -> int:
        """Creates a generation, or finds that the same request has made it, and returns its position.

        Raises:
            InvalidInputError: The name is malformed.
            AlreadyExistsError: Another request made it, or it has another spec, or it was deleted.
            UnavailableError: The shard is still loading, or the disk is full.
        """
        self.check_name(name)
        with self._one_at_a_time:
            # It may have waited here while the shard closed.
            self.check_loaded()
            found = self._generations.get(name)
            if found is None:
                if name in self._gone:
                    raise AlreadyExistsError(f"generation {name} was deleted: take a new name")
                found = self._make(name, spec, request_id)
                self._generations[name] = found
            elif found.spec != spec:
                raise AlreadyExistsError(f"generation {name} exists with another spec")
            elif not found.store.creation_request_id:
                found.store.note_creation(request_id)
            elif found.store.creation_request_id != request_id:
                raise AlreadyExistsError(f"generation {name} was made by another request")
            return found.position

    def _make(self, name: str, spec: Spec, request_id: str) -> Generation:
        own, new_log = self.identity, self._open_log(name)
        creation = Creation(
            spec,
            request_id,
            own.installation_id,
            own.shard,
            own.shard_count,
            new_log.log_id,
            new_log.first_positions,
        )
        with self.disk.writing(f"generation {name} cannot be created"):
            make_folder(self._folder, name, creation)
        try:
            generation = self._open(name, new_log)
        except BaseException:
            shutil.rmtree(self._folder / name, ignore_errors=True)
            raise
        generation.follow_log()
        log.info("generation_created", generation=name)
        return generation

    def drop(self, name: str) -> int:
        """Deletes a generation with all rows and returns its last position; 0: there was none.

        The name is not used again: a request to create it may still be on its way here.

        Raises:
            InvalidInputError: The name is malformed.
            UnavailableError: The shard is still loading, or the disk is full.
        """
        self.check_name(name)
        with self._one_at_a_time:
            self.check_loaded()
            self._gone.add(name)
            found = self._generations.pop(name, None)
            if found:
                found.close(save=False)
            with self.disk.writing(f"generation {name} cannot be deleted"):
                delete_folder(self._folder, name)
            if found is None:
                return 0
            log.info("generation_dropped", generation=name)
            return found.position

    def check_name(self, name: str) -> None:
        """Checks what is to name a generation.

        Raises:
            InvalidInputError: It is malformed.
            UnavailableError: The shard is still loading.
        """
        check_generation_name(name)
        self.check_loaded()
