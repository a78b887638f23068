"""Which shard holds an item: item id → partition → shard.

A collection's partition count never changes, so an item never moves to another partition. Shards come and go:
jump consistent hashing moves only the share of partitions that has to move.
"""

from __future__ import annotations

import xxhash

_MULTIPLIER = 2862933555777941757
_MASK64 = (1 << 64) - 1


def partition_of(item_id: str, partition_count: int) -> int:
    """Returns the partition, 0 <= partition < partition_count, of an item."""
    return xxhash.xxh64_intdigest(item_id.encode()) % partition_count


def shard_of(partition: int, shard_count: int) -> int:
    """Returns the shard, 0 <= shard < shard_count, that holds a partition.

    Source: Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014 (arXiv 1406.2294).
    """
    # The generator wants well-mixed keys; consecutive partition numbers are not.
    key = xxhash.xxh64_intdigest(partition.to_bytes(8, "little"))
    bucket, candidate = -1, 0
    while candidate < shard_count:
        bucket = candidate
        key = (key * _MULTIPLIER + 1) & _MASK64
        candidate = int((bucket + 1) * ((1 << 31) / ((key >> 33) + 1)))
    return bucket
