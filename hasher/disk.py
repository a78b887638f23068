"""Whether the disk of the data folder takes writes: for the log, the metrics and whoever asks for the state.

A full disk does not make the shard unready: searches and reads go on, and neither a restart nor a detour
around the shard would help those who write. It is what ``Describe`` names as the cause why a generation takes
no writes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import structlog

_ENOUGH_BYTES = 32 * 1024 * 1024
_QUOTA_SECONDS = 30.0
log = structlog.get_logger()


class DiskWatch:
    """Remembers that the disk was full until something could be written again, or there is space again.

    A quota may be used up where the disk itself has space: after half a minute without a refusal that is
    over.

    Args:
        folder: The data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._full_at: float | None = None
        self._has_no_space = False

    def full(self) -> None:
        """Notes that a write found no space."""
        free = self.space()[0]
        if self._full_at is None:
            log.error("disk_full", folder=str(self._folder), free_bytes=free)
        self._full_at, self._has_no_space = time.monotonic(), free < _ENOUGH_BYTES

    def written(self) -> None:
        """Notes that something was written."""
        if self._full_at is not None:
            self._full_at = None
            log.info("disk_has_space_again", free_bytes=self.space()[0])

    def is_full(self) -> bool:
        """Whether a write would find no space, as far as is known."""
        full_at = self._full_at
        if full_at is None:
            return False
        if self._has_no_space:
            over = self.space()[0] >= _ENOUGH_BYTES
        else:
            over = time.monotonic() - full_at > _QUOTA_SECONDS
        if over:
            self.written()
        return not over

    def space(self) -> tuple[int, int]:
        """Returns the bytes that are free and all there are; 0 and 0 where the folder is not to be found."""
        try:
            state = os.statvfs(self._folder)
        except OSError:
            return 0, 0
        return state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize
