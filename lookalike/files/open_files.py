"""How many files a process may have open, and what it says when it has them all open."""

from __future__ import annotations

import errno
import os
import resource
from typing import NamedTuple

from lookalike.errors import Reason, UnavailableError

_TOO_MANY = frozenset({errno.EMFILE, errno.ENFILE})
_RETRY_SECONDS = 1.0


class OpenFilesLimit(NamedTuple):
    """The process's limits, connections included."""

    soft: int
    """What counts."""
    hard: int
    """What the process may raise it to."""


def raise_limit() -> OpenFilesLimit:
    """Raises the soft limit to the hard one.

    Returns:
        The limits as they were before.
    """
    found = OpenFilesLimit(*resource.getrlimit(resource.RLIMIT_NOFILE))
    resource.setrlimit(resource.RLIMIT_NOFILE, (found.hard, found.hard))
    return found


def open_files_error(error: BaseException) -> UnavailableError | None:
    """Returns the error of a process that has reached its limit, or None if that is not why something failed.

    Libraries often hide the cause, so whether a file can be opened is tried.
    """
    if not (isinstance(error, OSError) and error.errno in _TOO_MANY) and not _is_reached():
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UnavailableError(
        f"the process has all {soft} files open that it may have; raise the limit (ulimit -n)",
        reason=Reason.OPEN_FILES_LIMIT,
        metadata={"max": str(soft)},
        retry_after_seconds=_RETRY_SECONDS,
    )


def _is_reached() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in _TOO_MANY
    return False
