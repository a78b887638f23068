"""The log of one machine: each shard orders, commits and applies the writes to its own partitions."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.deadline import Deadline
from gateway.directory.base import Collection
from gateway.fanout import Shards
from gateway.log.base import Appended, Write
from gateway.offload import off_loop
from gateway.peers import Shard
from lookalike.errors import InvalidInputError, Reason
from lookalike.v1 import hasher_pb2, types_pb2

_LANE = 0
_IDENTITY_BYTES = 256
"""More than a request grows by when it is sent: by the identity of its shard."""
_RETRY_ADVICE = "nothing is acknowledged: retry with the same request_id"


class DirectLog:
    """Sends every shard its part of a write under the caller's request id; see :class:`WriteLog`.

    A repeated write is applied once in each partition, also where the first attempt reached some shards only.

    Args:
        shards: All of them.
        log_id: Of the installation and its layout: positions are those of the shards.
        max_message_bytes: Limit of one message to a shard.
    """

    def __init__(self, shards: Shards, log_id: str, max_message_bytes: int) -> None:
        self.log_id = log_id
        self._shards = shards
        self._max_message_bytes = max_message_bytes

    async def append(self, collection: Collection, write: Write, deadline: Deadline) -> Appended:
        """See :class:`gateway.log.base.WriteLog`."""
        owners = self._shards.by_owner(write.item_ids, collection.spec.partition_count)
        payload_bytes = sum(map(len, write.mutations))
        requests = await off_loop(payload_bytes, lambda: self._requests(collection, write, owners))
        timeout_seconds = deadline.call_timeout_seconds("writing to the shards")
        outcome = await self._shards.ask(Shard.apply, requests, timeout_seconds)
        answers = outcome.complete(_RETRY_ADVICE)
        outcomes: dict[int, hasher_pb2.MutationResult] = {}
        for shard, places in owners.items():
            outcomes.update(zip(places, answers[shard].results, strict=True))
        return Appended(
            [outcomes[place] for place in range(len(write.mutations))],
            {shard: answer.position for shard, answer in answers.items()},
            types_pb2.DURABILITY_LOCAL_DISK,
        )

    def min_positions(self, positions: Mapping[int, int]) -> dict[int, dict[int, int]]:
        """See :class:`gateway.log.base.WriteLog`."""
        if any(shard >= self._shards.count for shard in positions):
            raise ValueError(f"there are {self._shards.count} shards")
        return {shard: {_LANE: position} for shard, position in positions.items()}

    def _requests(
        self, collection: Collection, write: Write, owners: Mapping[int, list[int]]
    ) -> dict[int, hasher_pb2.ApplyRequest]:
        requests = {}
        for shard, places in owners.items():
            request = requests[shard] = hasher_pb2.ApplyRequest(
                generation=collection.generation,
                request_id=write.request_id,
                content_digest=write.content_digest,
                write=hasher_pb2.Mutations(model_version=collection.spec.model_version),
            )
            request.write.MergeFromString(b"".join(write.mutations[place] for place in places))
        limit = self._max_message_bytes - _IDENTITY_BYTES
        if any(request.ByteSize() > limit for request in requests.values()):
            raise InvalidInputError(
                "the items with their vectors are too large for one write: send fewer at once",
                reason=Reason.BATCH_TOO_LARGE,
                field="items",
            )
        return requests
