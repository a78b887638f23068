"""What an answer says that it cost."""

from __future__ import annotations

import numpy as np

from hasher.index import HashIndex


def test_an_answer_says_what_work_it_was() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(720, 64)).astype(np.float32)
    ids = np.arange(len(vectors), dtype=np.uint64)
    index = HashIndex.build(vectors, ids, ids // 6)
    found = index.search_detailed(vectors[:20], 10, probes=4, rerank=25)
    assert found.buckets_probed.tolist() == [4] * 20
    np.testing.assert_array_equal(found.candidates_reranked, np.minimum(found.codes_scanned, 25))
    exact = index.search_detailed(vectors[:20], 10, exact=True)
    assert exact.buckets_probed.tolist() == [0] * 20
    assert exact.candidates_reranked.tolist() == [len(ids)] * 20
