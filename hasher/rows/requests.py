"""What became of requests, kept so that a repeated one is answered alike and applied once.

An outcome is kept with its partition: it belongs to the rows of that partition and can be moved with them.
There is one row for each record of the log all the same; see ``docs/adr/0011-request-ids.md``.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import apsw

from hasher.log.base import Mutation, Outcome

WINDOW_NS = 600 * 10**9
"""How long request ids are kept, by the time of the log."""
ANY_PARTITION = -1
"""Stands for the partitions of outcomes that the first schema kept without them."""


class Placed(NamedTuple):
    """A mutation and the partition that its item belongs to."""

    partition: int
    mutation: Mutation


class Kept(NamedTuple):
    """An outcome, and a checksum of the id of its item."""

    item: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one request in one lane, by partition; there in the order of the request.

    ``payload_hash`` is a digest of what the gateway's caller sent, ``position`` that of the last record that
    applied a part of it.
    """

    payload_hash: bytes
    position: int
    partitions: Mapping[int, Sequence[Kept]]

    @classmethod
    def of(
        cls, payload_hash: bytes, position: int, done: Sequence[tuple[Placed, Outcome]], before: Self | None
    ) -> Self:
        """Returns what is known once further mutations of a request were applied."""
        partitions: dict[int, list[Kept]] = {}
        for (partition, mutation), outcome in done:
            partitions.setdefault(partition, []).append(Kept(_checksum(mutation.item_id), outcome))
        return cls(payload_hash, position, {**(before.partitions if before else {}), **partitions})

    def __contains__(self, partition: int) -> bool:
        """Whether the request was applied in a partition."""
        return partition in self.partitions or ANY_PARTITION in self.partitions

    def answers(self, payload_hash: bytes, placed: Sequence[Placed]) -> bool:
        """Whether a request of this id asks for the same as before, in every partition that both concern.

        A photo that could not be embedded at first may be among the mutations now, under the same digest: its
        item must not get the outcome of another one.
        """
        if payload_hash != self.payload_hash:
            return False
        if ANY_PARTITION in self.partitions:
            return len(self.partitions[ANY_PARTITION]) == len(placed)
        items: dict[int, list[int]] = {}
        for partition, mutation in placed:
            if partition in self.partitions:
                items.setdefault(partition, []).append(_checksum(mutation.item_id))
        return all(
            [kept.item for kept in self.partitions[partition]] == items[partition] for partition in items
        )

    def outcomes_of(self, placed: Sequence[Placed]) -> tuple[Outcome, ...]:
        """Returns the outcomes of mutations, all of which are known, in their order."""
        if ANY_PARTITION in self.partitions:
            return tuple(kept.outcome for kept in self.partitions[ANY_PARTITION])
        following = {partition: iter(kept) for partition, kept in self.partitions.items()}
        return tuple(next(following[partition]).outcome for partition, _ in placed)

    def encode(self) -> bytes:
        """Returns the position and the outcomes as they are kept."""
        rows = [
            (partition, item, int(outcome.existed), int(outcome.conflict), outcome.version)
            for partition, kept in self.partitions.items()
            for item, outcome in kept
        ]
        return zlib.compress(json.dumps([self.position, rows], separators=(",", ":")).encode(), level=1)

    @classmethod
    def decode(cls, payload_hash: bytes, data: bytes) -> Self:
        """Returns what was kept."""
        position, rows = json.loads(zlib.decompress(data))
        partitions: dict[int, list[Kept]] = {}
        for partition, item, existed, conflict, version in rows:
            outcome = Outcome(version, bool(existed), bool(conflict))
            partitions.setdefault(partition, []).append(Kept(item, outcome))
        return cls(payload_hash, position, partitions)


def find(connection: apsw.Connection, request_id: str, lane: int, since_ns: int) -> Known | None:
    """Returns what is known of a request that is not older than a time; None: nothing."""
    row = connection.execute(
        "SELECT payload_hash, outcomes FROM requests WHERE request_id = ? AND lane = ? AND created_ns >= ?",
        (request_id, lane, since_ns),
    ).fetchone()
    return Known.decode(*row) if row else None


def remember(connection: apsw.Connection, request_id: str, lane: int, created_ns: int, known: Known) -> None:
    """Keeps what is known of a request."""
    connection.execute(
        "INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, ?)",
        (request_id, lane, created_ns, known.payload_hash, known.encode()),
    )


def refuse(connection: apsw.Connection, lane: int, position: int, created_ns: int) -> None:
    """Keeps that a record was refused because its request id had been used for something else."""
    connection.execute("INSERT INTO refusals VALUES (?, ?, ?)", (lane, position, created_ns))


def was_refused(connection: apsw.Connection, lane: int, position: int) -> bool:
    """Whether a record was refused."""
    found = connection.execute("SELECT 1 FROM refusals WHERE lane = ? AND position = ?", (lane, position))
    return found.fetchone() is not None


def forget(connection: apsw.Connection, lane: int, before_ns: int) -> None:
    """Deletes what is older than a time."""
    for table in ("requests", "refusals"):
        connection.execute(f"DELETE FROM {table} WHERE lane = ? AND created_ns < ?", (lane, before_ns))


def _checksum(item_id: str) -> int:
    return zlib.crc32(item_id.encode())
