"""What the gateway needs of the log that writes go to: the seam below :mod:`gateway.writes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.deadline import Deadline
from gateway.directory.base import Collection
from lookalike.v1 import hasher_pb2, types_pb2


@dataclass(frozen=True)
class Write:
    """Mutations that were sent under one request id."""

    request_id: str
    content_digest: bytes
    """SHA-256 of what the caller sent: decides whether a repeated request id has the same content."""
    item_ids: Sequence[str]
    mutations: Sequence[bytes]
    """As many as there are item ids, in their order: each an encoded ``Mutations`` that holds just one."""


@dataclass(frozen=True)
class Appended:
    """What became of a write."""

    outcomes: Sequence[hasher_pb2.MutationResult]
    """As many as there were mutations, in their order."""
    positions: Mapping[int, int]
    """Where the log put the write: a number that means something to this log only → the position there."""
    durability: types_pb2.Durability


class WriteLog(Protocol):
    """Makes writes durable, in an order that all shards concerned follow."""

    log_id: str
    """Positions mean something only together with it."""

    async def append(self, collection: Collection, write: Write, deadline: Deadline) -> Appended:
        """Appends a write; a request id that the log has seen before is applied once and answered alike.

        Raises:
            InvalidInputError: The request id was used with other content (``REQUEST_ID_REUSED``), or the
                write is too large (``BATCH_TOO_LARGE``).
            UnavailableError: It is not known to be durable everywhere; sending it again is safe.
        """
        ...

    def min_positions(self, positions: Mapping[int, int]) -> dict[int, dict[int, int]]:
        """Returns what a search must demand to see a write: shard → lane → position.

        Args:
            positions: Of an earlier :class:`Appended` of this log, as a token brought them back.

        Raises:
            ValueError: This log gives no such positions.
        """
        ...
