"""Features on disk, one row per photo, in an SQLite file that runs share.

SQLite's rollback journal keeps the file whole whenever a run is killed, and its locks let several runs
read and write at the same time. The file only grows; deleting it costs nothing but time.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from lookalike.errors import FailedPreconditionError, Reason
from lookalike.files.disk import writing

_SECONDS_BETWEEN_COMMITS = 1.0
_SECONDS_TO_WAIT_FOR_OTHERS = 60.0

Feature = npt.NDArray[np.floating[Any]]


class FeatureStore:
    """Vectors by key. To be used as a context manager, in one thread.

    Args:
        file: The SQLite file; made if missing.
        dim: Width of the vectors.
        kept_as: Type of the vectors' values.

    Raises:
        FailedPreconditionError: Here or later: the file cannot be read or written.
        OSError: Here or later: the disk is full.
    """

    def __init__(self, file: Path, dim: int, kept_as: Literal["<f4", "<f2"] = "<f4") -> None:
        self._file = file
        self._dim = dim
        self._kept_as = kept_as
        self._new: list[tuple[bytes, bytes]] = []
        self._committed = time.monotonic()
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        with self._named():
            self._database = sqlite3.connect(file, timeout=_SECONDS_TO_WAIT_FOR_OTHERS)
        try:
            with self._named(), self._database:
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS features (key BLOB NOT NULL UNIQUE, vector BLOB NOT NULL)"
                )
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._commit()
        finally:
            self._database.close()

    def find(self, keys: Sequence[bytes]) -> list[Feature | None]:
        """Returns the vectors ``(dim,)`` of some keys, None where there is none."""
        found: list[Feature | None] = []
        with self._named(), self._database:
            self._database.execute("BEGIN")
            for key in keys:
                row = self._database.execute("SELECT vector FROM features WHERE key = ?", (key,)).fetchone()
                vector = np.frombuffer(row[0], dtype=self._kept_as) if row else None
                found.append(vector if vector is not None and len(vector) == self._dim else None)
        return found

    def has(self, key: bytes) -> bool:
        """Returns whether there is a vector of that key."""
        with self._named():
            found = self._database.execute(
                "SELECT length(vector) FROM features WHERE key = ?", (key,)
            ).fetchone()
        return found is not None and found[0] == self._dim * np.dtype(self._kept_as).itemsize

    def put(self, key: bytes, vector: Feature) -> None:
        """Keeps a vector ``(dim,)``; it is on disk a second later, or when the store is closed."""
        self._new.append((key, vector.astype(self._kept_as).tobytes()))
        if time.monotonic() - self._committed >= _SECONDS_BETWEEN_COMMITS:
            self._commit()

    def _commit(self) -> None:
        with self._named(), self._database:
            self._database.executemany("INSERT OR REPLACE INTO features VALUES (?, ?)", self._new)
        self._new = []
        self._committed = time.monotonic()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Names the file in SQLite's errors, which do not."""
        try:
            yield
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._file)) from error
            raise FailedPreconditionError(
                f"the feature cache {self._file} cannot be used ({error}); delete it or name another folder",
                reason=Reason.CONFIG_INVALID,
            ) from error
