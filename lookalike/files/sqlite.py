"""The SQLite library that gateway and hasher keep their data with."""

from __future__ import annotations

import apsw

from lookalike.errors import InvalidInputError, Reason

# Older versions can lose a commit when two connections reset the write-ahead log at the same time.
_MIN_VERSION = (3, 51, 3)


def check_sqlite_version() -> None:
    """Makes sure that SQLite is safe for a write-ahead log with several connections.

    Raises:
        InvalidInputError: It is older than 3.51.3 (``CONFIG_INVALID``).
    """
    found = apsw.sqlite_lib_version()
    if tuple(map(int, found.split("."))) < _MIN_VERSION:
        needed = ".".join(map(str, _MIN_VERSION))
        raise InvalidInputError(
            f"SQLite {found} is too old, {needed} or newer is needed: upgrade apsw",
            reason=Reason.CONFIG_INVALID,
        )
