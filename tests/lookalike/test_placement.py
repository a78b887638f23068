from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lookalike.placement import partition_of, shard_of


@given(st.text(min_size=1), st.integers(1, 65536))
def test_partition_is_in_range_and_stable(item_id: str, count: int) -> None:
    partition = partition_of(item_id, count)
    assert 0 <= partition < count
    assert partition_of(item_id, count) == partition


def test_partition_is_xxh64_modulo_count() -> None:
    # xxh64("a", seed 0) from the algorithm's published test vectors.
    assert partition_of("a", 1024) == 0xD24EC4F1A98C6E5B % 1024


@given(st.integers(0, 65535), st.integers(1, 64))
def test_growing_by_one_shard_moves_partitions_only_to_the_new_one(partition: int, count: int) -> None:
    before, after = shard_of(partition, count), shard_of(partition, count + 1)
    assert 0 <= before < count
    assert after in (before, count)


def test_three_shards_take_a_third_each_and_two_to_three_moves_a_third() -> None:
    partitions = range(1024)
    sizes = Counter(shard_of(partition, 3) for partition in partitions)
    assert all(280 < sizes[shard] < 400 for shard in range(3))
    moved = sum(shard_of(partition, 2) != shard_of(partition, 3) for partition in partitions)
    assert 280 < moved < 400
