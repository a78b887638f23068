"""The figures themselves: profiles, divergence, intervals, bounded labels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.quality.bounds import NONE, OTHER, Labels
from gateway.quality.intervals import wilson
from gateway.quality.profiles import MEMORY, CatalogueProfile, QueryProfile, cosine, divergence, spread
from lookalike.categories.belief import Prediction
from lookalike.v1 import hasher_pb2
from lookalike.wire.vectors import to_bytes


def unit(seed: int, around: float = 0.0, dimension: int = 16) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=dimension)
    vector[0] += around
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def predicted(**shares: float) -> list[Prediction]:
    meta = [Prediction((name,), share) for name, share in shares.items()]
    return [*meta, Prediction(("a", "b", "c"), 1.0)]


def part(count: int, mean: np.ndarray, **metas: int) -> hasher_pb2.GenerationInfo:
    profile = hasher_pb2.Profile(row_count=10, mean_f32_le=to_bytes(mean), meta_rows=metas)
    return hasher_pb2.GenerationInfo(item_count=count, profile=profile)


def test_the_mean_of_queries_is_theirs_whatever_their_length() -> None:
    profile = QueryProfile(16)
    vectors = [unit(seed) for seed in range(50)]
    for length, vector in enumerate(vectors, start=1):
        profile.take(to_bytes(length * vector), ())
    assert profile.queries == 50
    np.testing.assert_allclose(profile.mean, np.mean(vectors, axis=0), atol=1e-6)
    assert profile.shares == {}


def test_old_queries_fade() -> None:
    profile = QueryProfile(16)
    for seed in range(MEMORY):
        profile.take(to_bytes(unit(seed, around=-9)), predicted(shoes=1.0))
    assert profile.mean[0] < -0.8
    for seed in range(3 * MEMORY):
        profile.take(to_bytes(unit(seed, around=9)), predicted(bags=1.0))
    assert profile.mean[0] > 0.7
    assert profile.shares["bags"] > 0.9 > 0.1 > profile.shares["shoes"]


def test_shares_are_mean_probabilities_of_photos() -> None:
    profile = QueryProfile(16)
    profile.take(to_bytes(unit(1)), predicted(shoes=0.8, bags=0.1))
    profile.take(to_bytes(unit(2)), ())
    profile.take(to_bytes(unit(3)), predicted(bags=0.6))
    assert (profile.queries, profile.photos) == (3, 2)
    assert profile.shares == pytest.approx({"shoes": 0.4, "bags": 0.35})


def test_shards_count_by_their_items() -> None:
    one, other = unit(1), unit(2)
    empty = hasher_pb2.GenerationInfo(item_count=0)
    profile = CatalogueProfile([part(300, one, shoes=10), part(100, other, shoes=5, bags=2), empty])
    np.testing.assert_allclose(profile.mean, (3 * one + other) / 4, atol=1e-6)
    assert profile.shares == pytest.approx({"shoes": 0.75 + 0.25 * 0.5, "bags": 0.25 * 0.2})


def test_cosine_and_spread_of_means() -> None:
    one = unit(1).astype(np.float64)
    assert cosine(one, 0.2 * one) == pytest.approx(1)
    assert cosine(one, -one) == pytest.approx(-1)
    assert math.isnan(cosine(one, np.zeros(16)))
    assert spread(one) == pytest.approx(0, abs=1e-6)
    assert spread(0.5 * one) == pytest.approx(0.75)


def test_divergence_is_that_of_jensen_and_shannon() -> None:
    assert divergence({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.5}) == 0
    assert divergence({"a": 1.0}, {"b": 1.0}) == pytest.approx(1)
    middle = {"a": 0.75, "b": 0.25}
    expected = 0.5 * sum(p * math.log2(p / middle[name]) for name, p in {"a": 0.5, "b": 0.5}.items())
    expected += 0.5 * math.log2(1 / 0.75)
    assert divergence({"a": 0.5, "b": 0.5}, {"a": 1.0}) == pytest.approx(expected)
    # What is unnamed on both sides is the same.
    assert divergence({"a": 0.4}, {"a": 0.4}) == 0
    assert divergence({"a": 0.4}, {}) > 0


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    [(0.9, 100, 0.826, 0.945), (1.0, 100, 0.963, 1.0), (0.0, 10, 0.0, 0.278), (0.5, 1, 0.055, 0.945)],
)
def test_intervals_are_wilsons(share: float, count: int, low: float, high: float) -> None:
    assert wilson(share, count) == pytest.approx((low, high), abs=2e-3)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    for truth in (0.9, 0.98):
        shares = rng.binomial(100, truth, size=2000) / 100
        held = sum(low <= truth <= high for low, high in (wilson(share, 100) for share in shares))
        assert held / 2000 > 0.92


def test_labels_stay_few() -> None:
    labels = Labels(2)
    assert [labels.of(value) for value in ("a", "", "b", "c", "a")] == ["a", NONE, "b", OTHER, "a"]
