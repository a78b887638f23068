"""Exact search, whitening, query expansion and re-ranking against naive versions and their invariants."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.evaluation.expansion import expand_queries
from embedder.evaluation.reranking import RerankSettings, k_reciprocal_distances, rerank
from embedder.evaluation.search import NOBODY, Neighbours, nearest
from embedder.evaluation.whitening import fit_whitening
from lookalike.errors import InvalidInputError

Vectors = npt.NDArray[np.float32]
SEEDS = st.integers(0, 2**32 - 1)


def unit(count: int, width: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def covariance(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    return np.cov(np.asarray(vectors, np.float64).T, bias=True)


# --- exact search


@settings(deadline=None)
@given(SEEDS, st.integers(1, 12), st.integers(1, 15), st.booleans())
def test_nearest_equals_a_full_sort(seed: int, count: int, depth: int, exclude: bool) -> None:
    random = np.random.default_rng(seed)
    # Few values, so that many scores are equal.
    index = random.integers(-1, 2, (count, 3)).astype(np.float32)
    queries = random.integers(-1, 2, (5, 3)).astype(np.float32)
    own = random.integers(NOBODY, count, 5) if exclude else None
    found = nearest(queries, index, depth, own)
    for row, query in enumerate(queries):
        scored = [(-float(query @ vector), place) for place, vector in enumerate(index)]
        if own is not None:
            scored = [pair for pair in scored if pair[1] != own[row]]
        expected = sorted(scored)[: found.positions.shape[1]]
        filled = len(expected)
        assert found.positions.shape == (5, min(depth, count))
        assert found.positions[row, :filled].tolist() == [place for _, place in expected]
        assert (-found.scores[row, :filled]).tolist() == [score for score, _ in expected]
        assert (found.positions[row, filled:] == NOBODY).all()
        assert np.isneginf(found.scores[row, filled:]).all()


def test_nearest_is_the_same_in_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, index, own = unit(9, 4, 1), unit(20, 4, 2), np.arange(9)
    whole = nearest(queries, index, 5, own)
    monkeypatch.setattr("embedder.evaluation.search._SCORES_AT_ONCE", 40)
    parts = nearest(queries, index, 5, own)
    assert (parts.positions == whole.positions).all()


# --- whitening


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.integers(2, 6))
def test_without_shrinkage_the_covariance_becomes_the_identity(seed: int, width: int) -> None:
    random = np.random.default_rng(seed)
    vectors = (random.standard_normal((200, width)) @ random.standard_normal((width, width)) + 3).astype("f4")
    fitted = fit_whitening(vectors, shrinkage=0.0)
    whitened = (vectors - fitted.mean).astype(np.float64) @ fitted.projection
    np.testing.assert_allclose(covariance(whitened), np.eye(width), atol=0.02)
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=0.01)


def test_the_projection_is_symmetric_and_what_it_gives_of_unit_norm() -> None:
    vectors = unit(40, 8, 0) + np.float32(0.3)
    fitted = fit_whitening(vectors)
    np.testing.assert_allclose(fitted.projection, fitted.projection.T, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(fitted.apply(vectors), axis=1), 1, atol=1e-6)


def test_full_shrinkage_only_centres() -> None:
    vectors = unit(30, 5, 3) + np.float32(1)
    centred = vectors - vectors.mean(axis=0)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(fit_whitening(vectors, shrinkage=1.0).apply(vectors), expected, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.integers(3, 30), st.integers(2, 8), st.floats(0.05, 1))
def test_whitening_equals_a_naive_version(seed: int, count: int, width: int, shrinkage: float) -> None:
    vectors = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32) + 1
    mean = np.mean(vectors.astype(np.float64), axis=0)
    scatter = sum(np.outer(row - mean, row - mean) for row in vectors) / count
    shrunk = (1 - shrinkage) * scatter + shrinkage * np.trace(scatter) / width * np.eye(width)
    fitted = fit_whitening(vectors, shrinkage=shrinkage)
    # The symmetric inverse root is the one matrix that is symmetric, positive, and inverse when squared.
    np.testing.assert_allclose(fitted.projection @ fitted.projection @ shrunk, np.eye(width), atol=1e-3)
    assert np.linalg.eigvalsh(fitted.projection.astype(np.float64)).min() > 0
    expected = (vectors[0] - mean) @ fitted.projection
    np.testing.assert_allclose(fitted.apply(vectors)[0], expected / np.linalg.norm(expected), atol=1e-4)


def test_fewer_vectors_than_dimensions_and_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(6, 20, 4)
    whole = fit_whitening(vectors)
    assert np.isfinite(whole.apply(unit(3, 20, 5))).all()
    monkeypatch.setattr("embedder.evaluation.whitening._VALUES_AT_ONCE", 50)
    np.testing.assert_allclose(fit_whitening(vectors).projection, whole.projection, atol=1e-4)
    assert (whole.apply(whole.mean[None]) == 0).all()


@pytest.mark.parametrize(
    ("vectors", "settings", "text"),
    [
        (np.ones((1, 3), np.float32), {}, "two or more different"),
        (np.ones((4, 3), np.float32), {}, "two or more different"),
        (unit(4, 3, 0), {"shrinkage": 1.5}, r"shrinkage in 0\.\.1"),
    ],
)
def test_what_cannot_be_whitened_is_refused(vectors: Vectors, settings: dict, text: str) -> None:
    with pytest.raises(InvalidInputError, match=text):
        fit_whitening(vectors, **settings)


# --- query expansion


@settings(deadline=None)
@given(SEEDS, st.integers(0, 6), st.floats(0, 5))
def test_expansion_equals_a_naive_version(seed: int, count: int, alpha: float) -> None:
    queries, index = unit(4, 3, seed), unit(5, 3, seed ^ 1)
    found = nearest(queries, index, count or 1, np.array([0, NOBODY, 2, NOBODY]))
    expanded = expand_queries(queries, index, found, count, alpha)
    for row, query in enumerate(queries):
        total = query.astype(np.float64)
        for place, score in list(zip(found.positions[row], found.scores[row], strict=True))[:count]:
            if place != NOBODY and score > 0:
                total = total + float(score) ** alpha * index[place]
        np.testing.assert_allclose(expanded[row], total / np.linalg.norm(total), atol=1e-4)


def test_expansion_by_nothing_changes_nothing() -> None:
    queries, index = unit(4, 3, 0), unit(5, 3, 1)
    np.testing.assert_allclose(
        expand_queries(queries, index, nearest(queries, index, 3), 0), queries, atol=1e-6
    )
    away = Neighbours(np.zeros((4, 1), np.int64), np.full((4, 1), -0.5, np.float32))
    np.testing.assert_allclose(expand_queries(queries, index, away, 1), queries, atol=1e-6)


# --- re-ranking


def naive_distances(query: Vectors, candidates: Vectors, k1: int, k2: int, weight: float) -> list[float]:
    """Section 3 of the paper, set by set."""
    nodes = [query, *candidates]
    count = len(nodes)
    exact = [node.astype(np.float64) for node in nodes]
    plain = [[0.0 if a is b else max(0.0, 2 - 2 * float(a @ b)) for b in exact] for a in exact]
    plain = [[d / max(row) if max(row) else 0.0 for d in row] for row in plain]
    order = [sorted(range(count), key=lambda j, i=i: (j != i, plain[i][j], j)) for i in range(count)]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    encodings = []
    for i in range(count):
        members = reciprocal(i, k1)
        expanded = set(members)
        for j in members:
            half = reciprocal(j, round(k1 / 2))
            if 3 * len(half & members) >= 2 * len(half):
                expanded |= half
        weights = [np.exp(-plain[i][j]) if j in expanded else 0.0 for j in range(count)]
        encodings.append([w / sum(weights) for w in weights])
    averaged = [np.mean([encodings[j] for j in order[i][:k2]], axis=0) for i in range(count)]
    found = []
    for j in range(1, count):
        pair = averaged[0], averaged[j]
        jaccard = 1 - np.minimum(*pair).sum() / np.maximum(*pair).sum()
        found.append((1 - weight) * jaccard + weight * plain[0][j])
    return found


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(1, 12), st.integers(1, 8), st.integers(1, 8), st.floats(0, 1))
def test_reranking_equals_a_naive_version(seed: int, count: int, k1: int, k2: int, weight: float) -> None:
    queries = unit(2, 6, seed)
    candidates = unit(2 * count, 6, seed ^ 1).reshape(2, count, 6)
    found = k_reciprocal_distances(queries, candidates, RerankSettings(k1, k2, weight))
    for row in range(2):
        expected = naive_distances(queries[row], candidates[row], k1, k2, weight)
        np.testing.assert_allclose(found[row], expected, atol=1e-5)


def test_reranking_by_the_plain_distance_alone_changes_nothing() -> None:
    queries, index = unit(5, 8, 0), unit(30, 8, 1)
    found = nearest(queries, index, 10).positions
    assert (rerank(queries, index, found, RerankSettings(original_weight=1.0)) == found).all()


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_reranking_permutes_the_candidates_and_does_not_depend_on_the_parts(seed: int) -> None:
    queries, index = unit(5, 8, seed), unit(30, 8, seed ^ 1)
    found = nearest(queries, index, 12).positions
    whole = rerank(queries, index, found)
    assert (np.sort(whole, axis=1) == np.sort(found, axis=1)).all()
    single = np.concatenate([rerank(queries[i : i + 1], index, found[i : i + 1]) for i in range(5)])
    assert (single == whole).all()


def test_a_photo_that_shares_the_querys_neighbours_overtakes_a_nearer_loner() -> None:
    """Four photos of one product around the query; the loner is nearer to it than the fourth."""
    angles = np.radians([0, 8, -8, 14, -12.5])
    plane = np.stack([np.cos(angles), np.sin(angles), np.zeros(5)], axis=1)
    plane[4] = [np.cos(angles[4]), 0, np.sin(-angles[4])]
    photos = plane.astype(np.float32)
    crowd = np.stack([np.array([np.cos(a), 0, np.sin(a)]) for a in np.radians([20, 22, 24, 26])]).astype("f4")
    index = np.concatenate([photos[1:], crowd])
    found = nearest(photos[:1], index, 8).positions
    assert found[0].tolist().index(3) < found[0].tolist().index(2)
    again = rerank(photos[:1], index, found, RerankSettings(k1=3, k2=2, original_weight=0.3))
    assert again[0].tolist().index(2) < again[0].tolist().index(3)


def test_copies_of_the_query_come_first() -> None:
    queries, index = unit(1, 6, 0), unit(12, 6, 1)
    index[[4, 7]] = queries[0]
    assert rerank(queries, index, nearest(queries, index, 12).positions)[0, :2].tolist() == [4, 7]
