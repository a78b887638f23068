"""Disks that are full: told by what could not be written there."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
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
