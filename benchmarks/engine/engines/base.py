"""What the benchmark asks of an engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Engine", "Floats", "Ids", "Search", "Settings", "UnavailableError"]

Floats = NDArray[np.float32]
Ids = NDArray[Any]
Settings = dict[str, Any]
Search = Callable[[Floats], Ids]
"""From `(q, d)` unit float32 queries to `(q, k)` ids, or `(k,)` for a single query."""


class UnavailableError(Exception):
    """The library cannot run this setting on this machine; the message says why."""


class Engine(Protocol):
    """One library with one index. The id of a vector is its row; similarity is the inner product."""

    loads_vectors: ClassVar[bool]
    """Whether searching needs the original vectors in addition to the index."""

    def build(self, vectors: Floats, settings: Settings, threads: int) -> None:
        """Builds the index of `(n, d)` unit `vectors`.

        Raises:
            UnavailableError: The machine lacks what the settings ask for.
        """

    def save(self, folder: Path) -> None:
        """Stores the built index in the existing empty `folder`."""

    def load(self, folder: Path, settings: Settings, vectors: Floats | None) -> None:
        """Loads what :meth:`save` stored, to search it with one thread.

        Args:
            folder: Where the index is.
            settings: Those of :meth:`build`.
            vectors: The catalogue's vectors, mapped, where :attr:`loads_vectors` is set.
        """

    def searcher(self, settings: Settings, k: int, single: bool) -> Search:
        """Applies the search settings and returns the call to time.

        Args:
            settings: One entry of the sweep.
            k: Results per query.
            single: The call will get one query at a time, `(1, d)`; otherwise many.
        """

    def index_bytes(self) -> int | None:
        """The library's own figure of the memory that its index takes, if it has one."""
