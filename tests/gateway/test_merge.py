"""The merge of the native fan-out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike import _native
from lookalike.matching import MatchCalibration
from lookalike.v1 import search_pb2, types_pb2

# Few distinct scores and products, so that ties and shared products are the rule.
ROWS = st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 5), st.integers(0, 3)), max_size=40).map(
    lambda rows: [(score / 4, f"p{product}" if product else "", shard) for score, product, shard in rows]
)


def _hit(score: float, item_id: str, product_id: str) -> search_pb2.Hit:
    return search_pb2.Hit(score=score, item_id=item_id, product_id=product_id)


def merge_hits(
    answers: list[list[search_pb2.Hit]],
    k: int,
    *,
    group_by_product: bool,
    min_score: float,
    matching: tuple[float, float, float, float, float] | None = None,
) -> list[search_pb2.Hit]:
    hits = [hit.SerializeToString() for answer in answers for hit in answer]
    merged = _native.merge_hits(
        hits, k=k, group_by_product=group_by_product, min_score=min_score, matching=matching
    )
    return list(search_pb2.SearchResponse.FromString(merged).hits)


def _naive(hits: list[search_pb2.Hit], k: int, group: bool) -> list[str]:
    """Picks the best remaining hit again and again."""
    left, picked = list(hits), []
    while left and len(picked) < k:
        best = min(left, key=lambda hit: (-hit.score, hit.item_id))
        picked.append(best.item_id)
        same = best.product_id if group else ""
        left = [h for h in left if h is not best and not (same and h.product_id == same)]
    return picked


@settings(deadline=None)
@given(rows=ROWS, k=st.integers(1, 12), group=st.booleans())
def test_merge_of_shard_answers_is_the_search_over_their_union(
    rows: list[tuple[float, str, int]], k: int, group: bool
) -> None:
    hits = [(_hit(score, f"i{n:02}", product), shard) for n, (score, product, shard) in enumerate(rows)]
    answers = []
    for shard in range(4):
        own = [hit for hit, where in hits if where == shard]
        kept = _naive(own, k, group)
        answers.append([hit for item_id in kept for hit in own if hit.item_id == item_id])
    merged = merge_hits(answers, k, group_by_product=group, min_score=-1)
    assert [hit.item_id for hit in merged] == _naive([hit for hit, _ in hits], k, group)


# Rounding may leave the bounds of a cosine by a little.
SCORES = st.sampled_from([-1.0000001192092896, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 1.0000001192092896])
HITS = st.builds(
    search_pb2.Hit,
    product_id=st.sampled_from(["", "p", "q", "é"]),
    score=SCORES,
    match_probability=st.none() | st.just(0.5),
    category=st.none() | st.just(types_pb2.CategoryPath(names=["Home"])),
    attributes=st.dictionaries(st.sampled_from("ab"), st.sampled_from("cd")),
    title=st.sampled_from(["", "A title"]),
)


@settings(deadline=None)
@given(
    answers=st.lists(st.lists(HITS, max_size=8), max_size=4),
    k=st.integers(1, 12),
    group=st.booleans(),
    min_score=SCORES.map(lambda score: min(max(score, -1), 1)),
)
def test_hits_are_passed_on_as_they_came(
    answers: list[list[search_pb2.Hit]], k: int, group: bool, min_score: float
) -> None:
    for n, hit in enumerate(hit for hits in answers for hit in hits):
        hit.item_id = f"i{n * 7 % 40:02}"
    merged = merge_hits(answers, k, group_by_product=group, min_score=min_score)
    expected = {}
    for hit in (hit for hits in answers for hit in hits):
        bounded = search_pb2.Hit()
        bounded.CopyFrom(hit)
        bounded.score = min(max(hit.score, -1), 1)
        expected[hit.item_id] = bounded
    assert merged == [expected[hit.item_id] for hit in merged]
    passing = [hit for hit in expected.values() if hit.score >= min_score]
    assert [hit.item_id for hit in merged] == _naive(passing, k, group)


def test_items_without_product_stand_for_themselves() -> None:
    answers = [[_hit(0.9, "a", ""), _hit(0.8, "b", "")], [_hit(0.7, "c", "")]]
    merged = merge_hits(answers, 10, group_by_product=True, min_score=-1)
    assert [hit.item_id for hit in merged] == ["a", "b", "c"]


def test_a_product_on_two_shards_shows_its_best_item() -> None:
    answers = [[_hit(0.7, "a", "p"), _hit(0.6, "b", "q")], [_hit(0.8, "c", "p")]]
    merged = merge_hits(answers, 2, group_by_product=True, min_score=-1)
    assert [hit.item_id for hit in merged] == ["c", "b"]


def test_hits_below_the_minimum_are_left_out() -> None:
    merged = merge_hits([[_hit(0.5, "a", ""), _hit(0.25, "b", "")]], 9, group_by_product=False, min_score=0.5)
    assert [hit.item_id for hit in merged] == ["a"]


@pytest.mark.parametrize("group", [False, True])
def test_equal_scores_are_in_the_order_of_their_items_whatever_the_shard_and_the_product(group: bool) -> None:
    over = float(np.nextafter(np.float32(1), np.float32(2)))
    answers = [
        [_hit(1.0, "t", "p"), _hit(1.0, "b", "q")],
        [_hit(over, "z", "r"), _hit(1.0, "c", "p"), _hit(over, "s", "q")],
        [_hit(over, "a", "")],
    ]
    merged = merge_hits(answers, 10, group_by_product=group, min_score=-1)
    expected = ["a", "b", "c", "z"] if group else ["a", "b", "c", "s", "t", "z"]
    assert [hit.item_id for hit in merged] == expected


@pytest.mark.parametrize("score", [1.0000001192092896, -1.0000001192092896, 1.0, -1.0, 0.1])
def test_a_score_is_a_cosine_and_finds_its_hit_again(score: float) -> None:
    answers = [[_hit(score, "a", "")]]
    (hit,) = merge_hits(answers, 1, group_by_product=True, min_score=-1)
    assert -1 <= hit.score <= 1
    assert merge_hits(answers, 1, group_by_product=True, min_score=hit.score) == [hit]


def test_bytes_that_are_no_hit_are_refused() -> None:
    with pytest.raises(ValueError, match="no hit"):
        _native.merge_hits([b"\x0a\xff"], k=1, group_by_product=True, min_score=-1)


CALIBRATION = MatchCalibration(20.0, 0.3, 0.5, 0.2)


@settings(deadline=None)
@given(
    answers=st.lists(st.lists(HITS, max_size=8), max_size=4),
    k=st.integers(1, 40),
    group=st.booleans(),
    min_score=SCORES.map(lambda score: min(max(score, -1), 1)),
)
def test_probabilities_are_added_and_nothing_else(
    answers: list[list[search_pb2.Hit]], k: int, group: bool, min_score: float
) -> None:
    for n, hit in enumerate(hit for hits in answers for hit in hits):
        hit.item_id = f"i{n * 7 % 40:02}"
    plain = merge_hits(answers, k, group_by_product=group, min_score=min_score)
    merged = merge_hits(
        answers, k, group_by_product=group, min_score=min_score, matching=(*CALIBRATION.coefficients, 0.0)
    )
    expected = _probabilities([hit for hits in answers for hit in hits])
    assert [hit.match_probability for hit in merged] == pytest.approx(
        [expected[hit.item_id] for hit in merged], abs=1e-6
    )
    for one in (*plain, *merged):
        one.ClearField("match_probability")
    assert merged == plain


def _probabilities(hits: list[search_pb2.Hit]) -> dict[str, float]:
    """By item: that of its product among all."""
    ranked = sorted(hits, key=lambda hit: (-min(max(hit.score, -1), 1), hit.item_id))
    best: dict[str, float] = {}
    for hit in ranked:
        best.setdefault(hit.product_id or f"item {hit.item_id}", min(max(hit.score, -1), 1))
    of_products = CALIBRATION.probabilities(np.array([list(best.values())], np.float32))[0].tolist()
    found = dict(zip(best, of_products, strict=True)) if best else {}
    return {hit.item_id: found[hit.product_id or f"item {hit.item_id}"] for hit in hits}


def test_hits_that_are_less_likely_are_left_out() -> None:
    answers = [[_hit(0.9, "a", ""), _hit(0.85, "b", ""), _hit(0.2, "c", "")]]
    everything = merge_hits(
        answers, 9, group_by_product=True, min_score=-1, matching=(*CALIBRATION.coefficients, 0.0)
    )
    bound = everything[1].match_probability
    likely = merge_hits(
        answers, 9, group_by_product=True, min_score=-1, matching=(*CALIBRATION.coefficients, bound)
    )
    assert likely == everything[:2]
