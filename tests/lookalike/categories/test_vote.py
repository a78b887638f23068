"""The vote of labelled neighbours, alone and together with a model."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lookalike.categories.belief import Belief
from lookalike.categories.tree import PathTree
from lookalike.categories.vote import NEIGHBOURS, SHARE, votes_of, with_votes
from tests.lookalike.categories.trees import ENDS, PATHS, SEEDS, Path

HITS = st.lists(st.tuples(PATHS | st.just(()), st.floats(-1, 1)), max_size=15).map(
    lambda hits: sorted(hits, key=lambda hit: -hit[1])
)
TREE = PathTree.of_ends([("a", "1"), ("a", "2"), ("b", "1"), ("c",)])


def model(*posterior: float) -> Belief:
    return Belief(TREE, np.array(posterior))


def paths_of(belief: Belief) -> dict[Path, float]:
    known = dict(zip(belief.tree.ends, belief.posterior.tolist(), strict=True))
    return {path: value for path, value in (known | dict(belief.others)).items() if value}


def test_votes_weigh_by_similarity_and_add_up_to_1() -> None:
    found = votes_of([(("a",), 0.9), ((), 0.89), (("b",), 0.83), (("a",), 0.76)])
    weights = [1, math.exp(-1), math.exp(-2)]
    assert found == pytest.approx(
        {("a",): (weights[0] + weights[2]) / sum(weights), ("b",): weights[1] / sum(weights)}
    )


def test_only_the_nearest_labelled_items_vote() -> None:
    hits = [(("a",), 0.5)] * NEIGHBOURS + [(("b",), 0.5)]
    assert votes_of(hits) == {("a",): pytest.approx(1)}
    assert votes_of([((), 0.5)] * 20 + hits) == {("a",): pytest.approx(1)}


@settings(deadline=None)
@given(HITS)
def test_votes_are_a_distribution_over_the_labels(hits: list[tuple[Path, float]]) -> None:
    found = votes_of(hits)
    assert sum(found.values()) == pytest.approx(1 if any(path for path, _ in hits) else 0)
    assert set(found) <= {path for path, _ in hits if path}


@settings(deadline=None)
@given(ENDS, SEEDS, HITS, st.floats(0, 1))
@example([("a", "a")], 0, [(("b",), 0.89453125), (("a", "b"), 0.0)], 0.0)
def test_both_together_are_a_distribution(
    ends: list[Path], seed: int, hits: list[tuple[Path, float]], share: float
) -> None:
    tree = PathTree.of_ends(ends)
    alone = Belief(tree, np.random.default_rng(seed).dirichlet([0.3] * len(tree.ends)))
    votes = votes_of(hits)
    for belief in (with_votes(alone, votes, share), with_votes(None, votes)):
        paths = paths_of(belief)
        assert sum(paths.values()) == pytest.approx(1 if votes or belief.tree.ends else 0)
        assert all(value >= 0 for value in paths.values())
        assert not any(one[: len(other)] == other != one for one in belief.others for other in paths)


def test_known_categories_share_by_weight() -> None:
    found = with_votes(model(0.5, 0.2, 0.2, 0.1), {("a", "2"): 0.75, ("c",): 0.25})
    assert paths_of(found) == pytest.approx(
        {
            ("a", "1"): (1 - SHARE) * 0.5,
            ("a", "2"): (1 - SHARE) * 0.2 + SHARE * 0.75,
            ("b", "1"): (1 - SHARE) * 0.2,
            ("c",): (1 - SHARE) * 0.1 + SHARE * 0.25,
        }
    )


def test_neighbours_alone_decide_whether_the_category_is_new() -> None:
    found = with_votes(model(1.0, 0, 0, 0), {("a", "3"): 0.6, ("d", "x", "y"): 0.1, ("a", "2"): 0.3})
    assert paths_of(found) == pytest.approx(
        {
            ("a", "1"): 0.3 * (1 - SHARE),
            ("a", "2"): 0.3 * SHARE,
            ("a", "3"): 0.6,
            ("d", "x", "y"): 0.1,
        }
    )
    assert found.category == ("a", "3")
    assert found.probability(("a",)) == pytest.approx(0.9)
    assert [one.path for one in found.predictions(1)] == [("a",), ("a", "3"), ("d", "x", "y")]


def test_a_label_above_the_ends_counts_for_all_below() -> None:
    found = with_votes(model(0.3, 0.1, 0.6, 0), {("a",): 1.0}, share=0.5)
    assert paths_of(found) == pytest.approx(
        {("a", "1"): 0.15 + 0.375, ("a", "2"): 0.05 + 0.125, ("b", "1"): 0.3}
    )
    unsure = with_votes(model(0, 0, 1, 0), {("a",): 1.0}, share=1.0)
    assert paths_of(unsure) == pytest.approx({("a", "1"): 0.5, ("a", "2"): 0.5})


def test_where_the_catalogue_goes_on_neighbours_say_how() -> None:
    votes = {("c", "x"): 0.3, ("c", "y"): 0.1, ("c",): 0.2, ("b", "1"): 0.4}
    found = with_votes(model(0, 0, 0.5, 0.5), votes, share=0.5)
    assert paths_of(found) == pytest.approx(
        {("b", "1"): 0.25 + 0.2, ("c", "x"): 0.75 * 0.55, ("c", "y"): 0.25 * 0.55}
    )
    assert found.probability(("c",)) == pytest.approx(0.55)


def test_without_a_model_the_vote_is_all() -> None:
    found = with_votes(None, {("a",): 0.2, ("a", "1"): 0.3, ("a", "2"): 0.1, ("b", "1"): 0.4})
    assert paths_of(found) == pytest.approx({("a", "1"): 0.45, ("a", "2"): 0.15, ("b", "1"): 0.4})
    assert found.category == ("a", "1")
    assert with_votes(None, {}).category == ()


def test_without_votes_the_model_is_all() -> None:
    alone = model(0.1, 0.2, 0.3, 0.4)
    assert with_votes(alone, {}) is alone
