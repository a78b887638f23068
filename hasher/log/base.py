"""What a generation's log is made of, and what a log does: it decides the order of changes and their time.

A log has one or several lanes, each with positions of its own; a lane holds the changes of certain
partitions. What applies the records uses no clock and counts no position, so that whoever applies the same
records comes to the same rows, versions and outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hasher.attributes import ItemAttributes
from lookalike.errors import LookalikeError


class Upsert(NamedTuple):
    """Writes one row.

    ``vector`` is (dimension,) float32 of unit norm. ``item`` is the encoded item that readers get back;
    ``attributes`` and ``document`` are what the index keeps of it, for filters and for answers. An empty
    ``product_id`` makes the item a product of its own.
    """

    item_id: str
    product_id: str
    item: bytes
    vector: NDArray[np.float32]
    attributes: ItemAttributes
    document: bytes
    if_version: int | None = None


class Delete(NamedTuple):
    """Deletes one row if there is one."""

    item_id: str
    if_version: int | None = None


Mutation = Upsert | Delete


@dataclass(frozen=True, slots=True)
class Change:
    """Mutations that are applied together, once for each ``request_id``; no item is in it twice."""

    request_id: str
    payload_hash: bytes
    mutations: tuple[Mutation, ...]

    @property
    def row_bytes(self) -> int:
        """Size of the rows that it writes, without what is kept to find them."""
        written = (mutation for mutation in self.mutations if isinstance(mutation, Upsert))
        return sum(len(upsert.item) + upsert.vector.nbytes for upsert in written)


@dataclass(frozen=True, slots=True)
class Record:
    """A change at its place in a log.

    Positions of a lane grow, and may leave gaps.
    """

    lane: int
    position: int
    time_ns: int
    change: Change


class Outcome(NamedTuple):
    """What became of one mutation.

    ``version`` is the row's new version, 0 after a delete; where ``conflict`` is true nothing was done and
    ``version`` is the one that the row has (0: there is no row).
    """

    version: int
    existed: bool
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """The durable result of one change, with the position that searches have to reach to see it."""

    position: int
    outcomes: tuple[Outcome, ...]


Apply = Callable[[Sequence[Record]], Sequence[Applied | LookalikeError]]
"""Makes records durable and searchable, all or none of them, and returns what became of each; an error among
the results is one that a record was refused with. Where it raises, nothing was applied that will be
acknowledged."""


class Log(Protocol):
    """The log of one generation."""

    @property
    def log_id(self) -> str:
        """Names the log; positions of another one mean something else."""

    @property
    def first_positions(self) -> Mapping[int, int]:
        """Lane → position of the generation's creation; empty where the log does not have it."""

    def follow(self, after: Mapping[int, int], apply: Apply) -> None:
        """Applies every record from now on, from one thread; called once.

        Args:
            after: Lane → position of the last record that was applied.
            apply: Applies records, in their order.
        """

    def submit(self, change: Change) -> Future[Applied]:
        """Appends a change; the future is done when it is durable and searchable here.

        Raises:
            OverloadedError: Too many changes wait.
            UnavailableError: The log is closed.
            FailedPreconditionError: Changes are not appended here, but by the gateways.
        """

    def pending(self) -> int:
        """Returns how many changes wait."""

    def close(self) -> None:
        """Applies what waits, then stops following."""
