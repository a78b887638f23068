from __future__ import annotations

import numpy as np

from hasher.index import HashIndex


def test_a_large_index_is_rebuilt_in_the_background() -> None:
    vectors = np.random.default_rng(3).normal(size=(33_000, 8)).astype(np.float32)
    ids = np.arange(33_000, dtype=np.uint64)
    index = HashIndex.build(vectors[:21_000], ids[:21_000], bits=64)
    assert not index.stats()["rebuilding"]
    index.wait_for_rebuild()
    index.add(vectors[21_000:], ids[21_000:])
    assert index.stats()["rebuilding"]
    assert index.remove(ids[:100]) == 100
    index.add(-vectors[100:200], ids[100:200])
    index.wait_for_rebuild()
    stats = index.stats()
    assert (stats["rebuilding"], stats["failed_rebuilds"]) == (False, 0)
    assert (stats["items"], stats["trained_on"]) == (32_900, 33_000)
    vectors[100:200] *= -1
    picked = np.arange(0, 33_000, 66)
    found = index.search(vectors[picked], 1, exact=True, threads=0)[0][:, 0]
    np.testing.assert_array_equal(found[2:], ids[picked[2:]])
    assert not np.isin(ids[:100], found).any()
    found = index.search(vectors[100:200], 1, exact=True)[0][:, 0]
    np.testing.assert_array_equal(found, ids[100:200])
