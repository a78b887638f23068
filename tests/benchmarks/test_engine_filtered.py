from __future__ import annotations

import numpy as np

from benchmarks.engine.engines.lookalike import LookalikeEngine
from benchmarks.engine.selection import PERCENTS, matching


def test_filtered_searches_of_lookalike_find_matching_items_only() -> None:
    vectors = np.random.default_rng(1).normal(size=(3_000, 16)).astype(np.float32)
    engine = LookalikeEngine()
    engine.build(vectors, {"bits": 64, "filters": True}, threads=1)
    for percent in PERCENTS:
        allowed = matching(len(vectors), percent)
        search = engine.filtered_searcher({"probes": 100}, 5, percent, allowed)
        found = np.asarray(search(vectors[:20])).astype(np.int64)
        assert (found < len(vectors)).all()
        assert allowed[found].all()
