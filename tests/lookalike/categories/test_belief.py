"""What is predicted of a photo: one path, and classes by level that agree with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.categories.belief import Belief, Prediction
from lookalike.categories.tree import PathTree
from tests.lookalike.categories.trees import ENDS, PATHS, SEEDS, Path

NEW = st.dictionaries(PATHS.map(lambda path: ("new", *path[1:])), st.floats(0.01, 1), max_size=3).filter(
    lambda paths: not any(a[: len(b)] == b != a for a in paths for b in paths)
)


def made(ends: list[Path], seed: int, others: dict[Path, float]) -> Belief:
    tree = PathTree.of_ends(ends)
    weights = np.random.default_rng(seed).dirichlet([0.5] * len(tree.ends))
    total = 1 + sum(others.values())
    return Belief(tree, weights / total, {path: weight / total for path, weight in others.items()})


def whole(belief: Belief) -> dict[Path, float]:
    return dict(zip(belief.tree.ends, belief.posterior.tolist(), strict=True)) | dict(belief.others)


def through(belief: Belief, path: Path) -> float:
    return sum(value for end, value in whole(belief).items() if end[: len(path)] == path)


@settings(deadline=None)
@given(ENDS, SEEDS, NEW)
def test_the_category_is_the_most_probable_path(
    ends: list[Path], seed: int, others: dict[Path, float]
) -> None:
    belief = made(ends, seed, others)
    paths = whole(belief)
    assert belief.category in paths
    assert paths[belief.category] == max(paths.values())
    assert [one.path for one in belief.along()] == [
        belief.category[:length] for length in range(1, 1 + len(belief.category))
    ]


@settings(deadline=None)
@given(ENDS, SEEDS, NEW, st.integers(1, 5))
def test_predictions_are_the_best_of_each_level(
    ends: list[Path], seed: int, others: dict[Path, float], k: int
) -> None:
    belief = made(ends, seed, others)
    found = belief.predictions(k)
    assert all(one.probability == pytest.approx(through(belief, one.path)) for one in found)
    assert [len(one.path) for one in found] == sorted(len(one.path) for one in found)
    for depth in range(1, belief.depth + 1):
        level = [one for one in found if len(one.path) == depth]
        classes = {path[:depth] for path in whole(belief) if len(path) >= depth}
        assert len({one.path for one in level}) == len(level) == min(k, len(classes))
        assert {one.path for one in level} <= classes
        rest = level
        if len(belief.category) >= depth:
            assert level[0].path == belief.category[:depth]
            rest = level[1:]
        assert [one.probability for one in rest] == sorted((one.probability for one in rest), reverse=True)
        left_out = [through(belief, path) for path in classes - {one.path for one in level}]
        if rest and left_out:
            assert max(left_out) <= rest[-1].probability + 1e-9


@settings(deadline=None)
@given(ENDS, SEEDS, NEW, st.integers(0, 2), st.floats(0, 1), st.integers(1, 6))
def test_a_cover_is_the_fewest_classes_that_are_so_probable(
    ends: list[Path], seed: int, others: dict[Path, float], depth: int, mass: float, most: int
) -> None:
    belief = made(ends, seed, others)
    values = sorted(
        (through(belief, path) for path in {end[: depth + 1] for end in whole(belief)}), reverse=True
    )
    found = belief.cover(depth, mass, most)
    if not found:
        assert sum(values[:most]) < mass + 1e-6
        return
    assert len(found) <= most
    assert [one.probability for one in found] == pytest.approx(values[: len(found)])
    assert sum(values[: len(found)]) >= mass - 1e-6
    assert len(found) == 1 or sum(values[: len(found) - 1]) < mass + 1e-6


def test_the_class_on_the_path_comes_first_also_if_it_is_not_the_most_probable() -> None:
    tree = PathTree.of_ends([("a", "1"), ("a", "2"), ("b", "1")])
    belief = Belief(tree, np.array([0.3, 0.3, 0.4]))
    assert belief.category == ("b", "1")
    assert [one.path for one in belief.predictions(2)] == [("b",), ("a",), ("b", "1"), ("a", "1")]
    assert [round(one.probability, 6) for one in belief.predictions(1)] == [0.4, 0.4]


def test_levels_below_the_end_of_the_path_are_listed_by_probability() -> None:
    tree = PathTree.of_ends([("a",), ("b", "1"), ("b", "2")])
    belief = Belief(tree, np.array([0.6, 0.1, 0.3]))
    assert belief.category == ("a",)
    assert belief.along() == [Prediction(("a",), 0.6)]
    assert [one.path for one in belief.predictions(9)] == [("a",), ("b",), ("b", "2"), ("b", "1")]
    assert [one.path for one in belief.cover(1, 0.8, 9)] == [("a",), ("b", "2")]


def test_equals_are_ordered_by_name() -> None:
    tree = PathTree.of_ends([("c",), ("a",), ("b",)])
    belief = Belief(tree, np.full(3, 0.25), {("aa",): 0.25})
    assert belief.category == ("a",)
    assert [one.path for one in belief.predictions(3)] == [("a",), ("aa",), ("b",)]
    assert [one.path for one in belief.cover(0, 0.5, 9)] == [("a",), ("aa",)]


@pytest.fixture
def nothing() -> Callable[[], Belief]:
    return lambda: Belief(PathTree(()), np.zeros(0))


def test_where_nothing_is_known_nothing_is_predicted(nothing: Callable[[], Belief]) -> None:
    assert nothing().category == ()
    assert nothing().predictions(3) == nothing().along() == nothing().cover(0, 0.0, 9) == []
    assert nothing().probability(("a",)) == 0


def test_unknown_classes_have_no_probability() -> None:
    belief = Belief(PathTree.of_ends([("a", "1")]), np.array([0.5]), {("b",): 0.5})
    asked = [("a",), ("a", "1"), ("b",), ("c",), ("a", "2"), ("a", "1", "x"), ()]
    assert [belief.probability(path) for path in asked] == [0.5, 0.5, 0.5, 0, 0, 0, 0]
