"""What belongs to one process at a time: the locks that see to it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lookalike.errors import FailedPreconditionError, InvalidInputError, Reason
from lookalike.files.disk import FULL, make_folder, writing

LOCK_FILE = "LOCK"


def lock_file(file: Path, *, wait: bool = False) -> int:
    """Takes a file, made if it is missing, until the descriptor is closed or the process ends.

    Args:
        file: The file, which stays behind: deleted ones would let two processes have a file each.
        wait: Wait for as long as another process has it.

    Returns:
        The descriptor.

    Raises:
        BlockingIOError: Another process has it.
        OSError: It cannot be made or written.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def one_at_a_time(file: Path, what: str) -> Iterator[None]:
    """Keeps others who do the same out for as long as the block runs.

    Args:
        file: The file that stands for it; see :func:`lock_file`.
        what: What is done, for the error.

    Raises:
        FailedPreconditionError: Another is under way (``CONFIG_INVALID``).
        InvalidInputError: The file cannot be made (``CONFIG_INVALID``).
        OSError: The disk is full.
    """
    try:
        with writing(file.parent):
            descriptor = lock_file(file)
    except BlockingIOError:
        raise FailedPreconditionError(
            f"another {what} is under way; wait until it has ended", reason=Reason.CONFIG_INVALID
        ) from None
    except OSError as error:
        if error.errno in FULL:
            raise
        raise InvalidInputError(
            f"cannot write into {file.parent}: {error.strerror}", reason=Reason.CONFIG_INVALID
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


class FolderLock:
    """Takes a folder, made if it is missing, until :meth:`release` or the end of the process.

    Args:
        folder: The folder.
        owner: What kind of process takes it, for the error.

    Raises:
        FailedPreconditionError: Another process has it (``CONFIG_INVALID``).
        InvalidInputError: It cannot be made or written (``CONFIG_INVALID``).
    """

    def __init__(self, folder: Path, owner: str) -> None:
        self._file = folder / LOCK_FILE
        try:
            make_folder(folder)
            self._descriptor = lock_file(self._file)
        except BlockingIOError:
            raise FailedPreconditionError(
                f"the data folder {folder} is in use by another {owner} process: stop it, or give each its"
                " own folder",
                reason=Reason.CONFIG_INVALID,
            ) from None
        except OSError as error:
            raise InvalidInputError(
                f"cannot use the data folder {folder}: {error.strerror}", reason=Reason.CONFIG_INVALID
            ) from None

    def in_place(self) -> bool:
        """Whether the lock still keeps others out: whoever deletes or replaces its file lets them in."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._file.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Gives the folder back; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
