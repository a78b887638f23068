"""Whether the disk of the data folder takes writes: for the log, the metrics and whoever asks for the state.

The last of the space is left to deletions: SQLite needs some for its write-ahead log before it can give any
back, and a disk on which nothing can be deleted stays full.

A full disk does not make the shard unready: searches and reads go on, and neither a restart nor a detour
around the shard would help those who write. It is what ``Describe`` names as the cause why a generation takes
no writes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from hasher.rows.sqlite import disk_full
from lookalike.errors import Reason, UnavailableError
from lookalike.files.disk import FULL
from lookalike.files.open_files import open_files_error
from lookalike.limits import MIB

_RESERVE_BYTES = 128 * MIB
_RESERVE_SHARE = 0.05
_RECOVERED = 1.5
"""With so many times the reserve free, the disk counts as full no more; less would let that come and go."""
_QUOTA_SECONDS = 30.0
log = structlog.get_logger()


class DiskWatch:
    """Keeps a reserve, and remembers that the disk was full until there is space again.

    A quota may be used up where the disk itself has space: when something was written, or after half a minute
    without a refusal, that is over.

    Args:
        folder: The data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._full_at: float | None = None
        self._has_no_space = False

    def has_room(self, needed_bytes: int, *, reused: bool = False) -> bool:
        """Whether so much can be written without touching the reserve.

        Args:
            needed_bytes: At most.
            reused: Whether it goes to what deletions have left in a file. Half of the reserve is enough then:
                only the write-ahead log grows.
        """
        free, size = self.space()
        # Where there is no folder any more, whoever writes finds that out.
        return not size or free - needed_bytes >= _reserve(size) / (2 if reused else 1)

    def full(self) -> None:
        """Notes that a write found no space."""
        free = self.space()[0]
        if self._full_at is None:
            log.error("disk_full", folder=str(self._folder), free_bytes=free)
        self._full_at, self._has_no_space = time.monotonic(), self._is_short()

    def written(self) -> None:
        """Notes that something was written that takes space."""
        if self._full_at is not None and not (self._has_no_space and self._is_short()):
            self._full_at = None
            log.info("disk_has_space_again", free_bytes=self.space()[0])

    def is_full(self) -> bool:
        """Whether a write would find no space, as far as is known."""
        full_at = self._full_at
        if full_at is None:
            return False
        quota_is_over = time.monotonic() - full_at > _QUOTA_SECONDS
        over = not self._is_short() if self._has_no_space else quota_is_over
        if over:
            self.written()
        return not over

    @contextmanager
    def writing(self, consequence: str) -> Iterator[None]:
        """Says that the disk is full, and what does not work for that.

        Raises:
            UnavailableError: It is (``DISK_FULL``).
        """
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise open_files_error(error) or error from error
            self.full()
            raise disk_full(consequence) from error
        except UnavailableError as error:
            if error.reason is Reason.DISK_FULL:
                self.full()
            raise

    def space(self) -> tuple[int, int]:
        """Returns the bytes that are free and all there are; 0 and 0 where the folder is not to be found."""
        try:
            state = os.statvfs(self._folder)
        except OSError:
            return 0, 0
        return state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize

    def _is_short(self) -> bool:
        free, size = self.space()
        return free < _RECOVERED * _reserve(size)


def _reserve(disk_bytes: int) -> float:
    return min(_RESERVE_BYTES, _RESERVE_SHARE * disk_bytes)
