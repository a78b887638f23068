from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hasher.index import HashIndex
from lookalike.errors import NotSupportedError

DIM = 192


def decaying(rows: int, seed: int) -> NDArray[np.float32]:
    """Vectors whose variance falls over the dimensions as embeddings' does, the axes hidden by a rotation."""
    axes = np.linalg.qr(np.random.default_rng(1).normal(size=(DIM, DIM)))[0]
    spectrum = np.arange(1, DIM + 1) ** -0.9
    drawn = np.random.default_rng(seed).normal(size=(rows, DIM)) * spectrum
    return np.ascontiguousarray((drawn @ axes).astype(np.float32))


def recall(index: HashIndex, queries: NDArray[np.float32]) -> float:
    truth = index.search(queries, exact=True)[0]
    found = index.search(queries, probes=1_000, rerank=20)[0]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, found, strict=True)]))


def test_short_codes_rank_better_after_a_learned_rotation(tmp_path: Path) -> None:
    vectors, queries = decaying(4_000, 2), decaying(50, 3)
    ids = np.arange(len(vectors), dtype=np.uint64)
    plain = HashIndex.build(vectors, ids, bits=64, rerank="f16")
    learned = HashIndex.build(vectors, ids, bits=64, rerank="f16", rotation="learned")
    assert recall(learned, queries) > recall(plain, queries) + 0.05
    assert (plain.stats()["rotation"], learned.stats()["rotation"]) == ("random", "learned")

    learned.save(tmp_path)
    reopened = HashIndex.open(tmp_path)
    assert reopened.stats()["rotation"] == "learned"
    for mine, theirs in zip(learned.search(queries), reopened.search(queries), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("rerank", ["int8", "f16", "f32"])
def test_scores_are_cosines_after_a_learned_rotation(rerank: str) -> None:
    vectors, queries = decaying(500, 2), decaying(20, 3)
    index = HashIndex.build(
        vectors, np.arange(500, dtype=np.uint64), bits=128, rerank=rerank, rotation="learned"
    )
    ids, scores = index.search(queries, effort=1.0)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ unit.T
    expected = np.take_along_axis(cosines, ids.astype(np.int64), axis=1)
    np.testing.assert_allclose(scores, expected, atol=0.01)


def test_an_index_that_begins_empty_learns_its_rotation_later() -> None:
    none, vectors = np.zeros((0, DIM), np.float32), decaying(2_000, 1)
    ids = np.arange(len(vectors), dtype=np.uint64)
    grown = HashIndex.build(none, ids[:0], bits=64, rotation="learned", rerank="f16")
    grown.add(vectors, ids)
    grown.wait_for_rebuild()
    built = HashIndex.build(vectors, ids, bits=64, rotation="learned", rerank="f16")
    queries = decaying(20, 3)
    np.testing.assert_array_equal(grown.search(queries)[0], built.search(queries)[0])


def test_a_learned_rotation_needs_fewer_bits_than_dimensions() -> None:
    vectors = decaying(10, 1)
    with pytest.raises(ValueError, match="fewer bits than dimensions"):
        HashIndex.build(vectors, np.arange(10, dtype=np.uint64), bits=192, rotation="learned")
    with pytest.raises(NotSupportedError, match="rotation 'pca'"):
        HashIndex.build(vectors, np.arange(10, dtype=np.uint64), rotation="pca")
