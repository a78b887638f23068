"""Writing files that survive crashes, and noticing full disks and files that are gone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Numbers of the errors of a disk that is full and of a quota that is used up."""


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Names the target in the error of a full disk.

    Python names the file that was being read, a temporary one, or none.

    Raises:
        OSError: As it came, but where the disk is full with ``target`` as its file name.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error


class WrittenFiles:
    """Files that are being written, and whether they are still those in their folders.

    One that was deleted or replaced takes writes and syncs them, and all is gone when it is closed.

    Args:
        files: They are open and in place.
    """

    def __init__(self, *files: Path) -> None:
        self._opened = {file: file.stat() for file in files}

    def in_place(self) -> bool:
        """Whether none was deleted or replaced."""
        try:
            return all(os.path.samestat(file.stat(), opened) for file, opened in self._opened.items())
        except OSError:
            return False


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, durably, where they are missing.

    Raises:
        OSError: It cannot be made.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        sync_folder(one.parent)
    if not missing:
        # A process that was killed may have made it just now; it did not where the parent may not be listed.
        with suppress(PermissionError):
            sync_folder(folder.parent)


def put_in_place(new: Path, target: Path) -> None:
    """Gives a finished file the name of another, which it replaces; durable when this returns.

    Raises:
        OSError: It cannot be done; what was there before stays.
    """
    with writing(target):
        _sync_file(new)
        new.replace(target)
        sync_folder(target.parent)


def replace_file(target: Path, content: bytes) -> None:
    """Writes a file whole or not at all; it is durable when this returns.

    Until then it is written under the name of :func:`part_of`.

    Raises:
        OSError: It cannot be written; what was there before stays.
    """
    part = part_of(target)
    try:
        with writing(target):
            part.write_bytes(content)
        put_in_place(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def part_of(target: Path) -> Path:
    """Returns the file that becomes ``target`` once it is whole; a process that was killed may leave it."""
    return target.with_name(f"{target.name}.part")


def replace_folder(new: Path, target: Path, old: Path) -> None:
    """Gives a finished folder the name of another, which becomes ``old``; durable when this returns.

    The three lie on one file system. ``target`` is at any time the old folder, absent or the new one, with
    whole files.

    Raises:
        OSError: It cannot be done; what was there before stays or is put back.
    """
    with writing(target):
        for path in new.rglob("*"):
            (sync_folder if path.is_dir() else _sync_file)(path)
        sync_folder(new)
        try:
            if target.exists():
                target.rename(old)
            new.rename(target)
        except BaseException:
            if old.exists() and not target.exists():
                old.rename(target)
            raise
        sync_folder(target.parent)


def _sync_file(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
