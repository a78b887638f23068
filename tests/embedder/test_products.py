from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.evaluation.products import ProductRankings, joined, rank_products
from embedder.evaluation.search import NOBODY

# Few distinct values, so that ties and shared products are the rule.
VECTORS = st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=1, max_size=12)


@settings(deadline=None)
@given(VECTORS, VECTORS, st.data())
def test_it_is_the_ranking_of_a_naive_search(
    queries: list[tuple[int, ...]], index: list[tuple[int, ...]], data: st.DataObject
) -> None:
    products = [data.draw(st.sampled_from("abcd")) for _ in index]
    asked = [data.draw(st.sampled_from("abcdx")) for _ in queries]
    own = [data.draw(st.sampled_from([NOBODY, *range(len(index))])) for _ in queries]
    q, rows = (np.array(vectors, np.float32) for vectors in (queries, index))
    found = rank_products(q, asked, rows, products, 3, np.array(own))
    assert found.scores.shape == (len(queries), 3)
    for number, vector in enumerate(q):
        best: dict[str, float] = {}
        for row, product in enumerate(products):
            if row != own[number]:
                best[product] = max(best.get(product, -np.inf), float(rows[row] @ vector))
        ranked = sorted(best, key=lambda product: (-best[product], product))[:3]
        scores = [best[product] for product in ranked]
        assert found.scores[number].tolist() == [*scores, *[-np.inf] * (3 - len(scores))]
        place = ranked.index(asked[number]) if asked[number] in ranked else NOBODY
        assert found.right[number] == place


def test_without_the_right_one_the_next_move_up() -> None:
    scores = np.array([[0.9, 0.8, 0.7], [0.9, 0.8, 0.7], [0.6, 0.5, -np.inf]], np.float32)
    absent = ProductRankings(scores, np.array([1, NOBODY, 0])).without_the_right_one()
    assert absent.right.tolist() == [NOBODY] * 3
    expected = np.array([[0.9, 0.7], [0.9, 0.8], [0.5, -np.inf]], np.float32)
    np.testing.assert_array_equal(absent.scores, expected)


def test_a_shallower_ranking_has_not_seen_what_lies_deeper() -> None:
    rankings = ProductRankings(np.array([[0.9, 0.8], [0.7, 0.6]], np.float32), np.array([1, 0]))
    assert rankings.first(1).right.tolist() == [NOBODY, 0]
    assert joined([rankings, rankings]).right.tolist() == [1, 0, 1, 0]
