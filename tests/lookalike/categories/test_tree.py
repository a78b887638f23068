"""How probable paths are, against the definition written down path by path."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from lookalike.categories.tree import PathTree
from tests.lookalike.categories.trees import ENDS, SEEDS, Path, levels_of, probabilities_of

RAGGED = [("a",), ("b", "x"), ("b", "y", "1"), ("b", "y", "2"), ("c", "x", "1")]


def naive(levels: list[list[Path]], row: list[np.ndarray], ends: list[Path]) -> dict[Path, float]:
    """The definition in `lookalike.categories.tree`, one end at a time."""
    found: dict[Path, float] = {}
    for end in sorted(ends, key=len):
        above = sum(value for other, value in found.items() if len(other) < len(end))
        depth = len(end) - 1
        found[end] = float(row[depth][levels[depth].index(end)]) * (1 - above)
    return found


@settings(deadline=None)
@given(ENDS, SEEDS)
def test_ends_are_as_probable_as_their_own_level_finds_them(ends: list[Path], seed: int) -> None:
    levels = levels_of(ends, seed)
    rows = probabilities_of(levels, 3, seed)
    tree = PathTree(levels)
    assert tree.ends == tuple(sorted(ends))
    for number, found in enumerate(tree.posterior(rows)):
        expected = naive(levels, [level[number] for level in rows], ends)
        np.testing.assert_allclose(found, [expected[end] for end in tree.ends], atol=1e-5)


@settings(deadline=None)
@given(ENDS, SEEDS)
def test_a_class_has_the_sum_of_those_below_it(ends: list[Path], seed: int) -> None:
    levels = levels_of(ends, seed)
    tree = PathTree(levels)
    posterior = tree.posterior(probabilities_of(levels, 2, seed))
    sums = tree.sums(posterior)
    np.testing.assert_allclose(posterior.sum(axis=1), 1)
    for depth, (classes, values) in enumerate(zip(tree.levels, sums, strict=True)):
        assert sorted(levels[depth]) == list(classes)
        ended = [number for number, end in enumerate(tree.ends) if len(end) <= depth]
        np.testing.assert_allclose(values.sum(axis=1) + posterior[:, ended].sum(axis=1), 1)
        for number, path in enumerate(classes):
            if path not in tree.ends:
                below = [n for n, child in enumerate(tree.levels[depth + 1]) if child[:-1] == path]
                np.testing.assert_allclose(
                    values[:, number], sums[depth + 1][:, below].sum(axis=1), atol=1e-12
                )


@settings(deadline=None)
@given(ENDS, SEEDS, SEEDS)
def test_renumbering_the_classes_changes_nothing(ends: list[Path], seed: int, other: int) -> None:
    one, another = levels_of(ends, seed), levels_of(ends, other)
    rows = probabilities_of(one, 2, seed)
    renumbered = [
        level[:, [before.index(path) for path in after]]
        for level, before, after in zip(rows, one, another, strict=True)
    ]
    np.testing.assert_array_equal(
        PathTree(one).posterior(rows), PathTree(another).posterior(renumbered), strict=True
    )


@settings(deadline=None)
@given(ENDS, SEEDS)
def test_levels_that_agree_are_taken_as_they_are(ends: list[Path], seed: int) -> None:
    levels = levels_of(ends, seed)
    random = np.random.default_rng(seed)
    whole = dict(zip(sorted(ends), random.dirichlet([1.0] * len(ends)), strict=True))
    rows = []
    for depth, classes in enumerate(levels, start=1):
        sums = [sum(value for end, value in whole.items() if end[:depth] == path) for path in classes]
        rows.append((np.array(sums) / sum(sums))[None])
    found = PathTree(levels).posterior(rows)[0]
    np.testing.assert_allclose(found, [whole[end] for end in sorted(ends)], rtol=1e-6, atol=1e-9)


def test_levels_that_contradict_each_other_give_one_path() -> None:
    tree = PathTree([[("a",), ("b",)], [("a", "1"), ("a", "2"), ("b", "1")]])
    posterior = tree.posterior([np.array([[0.9, 0.1]]), np.array([[0.3, 0.2, 0.5]])])[0]
    np.testing.assert_allclose(posterior, [0.3, 0.2, 0.5])
    np.testing.assert_allclose(tree.sums(posterior)[0], [0.5, 0.5])


def test_what_does_not_end_above_goes_on() -> None:
    levels = levels_of(RAGGED)
    rows = [np.zeros((2, len(level)), np.float32) for level in levels]
    for path, chances in {("a",): (0.25, 1), ("b",): (0.75, 0), ("b", "x"): (0.4, 1)}.items():
        rows[len(path) - 1][:, levels[len(path) - 1].index(path)] = chances
    rows[1][0, levels[1].index(("c", "x"))] = 0.6
    rows[2][:, levels[2].index(("b", "y", "2"))] = 1
    posterior = PathTree(levels).posterior(rows)
    # A quarter ends at the top, of the rest two fifths at b / x; the last level has what is left.
    np.testing.assert_allclose(posterior, [[0.25, 0.3, 0, 0.45, 0], [1, 0, 0, 0, 0]], atol=1e-6)


def test_classes_and_ends_have_numbers() -> None:
    tree = PathTree.of_ends(RAGGED)
    assert tree.ends == tuple(sorted(RAGGED))
    assert tree.levels == tuple(map(tuple, map(sorted, levels_of(RAGGED))))
    assert tree.class_number(("b", "y")) == tree.levels[1].index(("b", "y"))
    assert tree.end_number(("b", "y")) is None
    assert tree.end_number(("b", "x")) == tree.ends.index(("b", "x"))
    assert [tree.class_number(path) for path in [(), ("z",), ("a", "x"), ("b", "y", "1", "2")]] == [None] * 4
    assert [tree.ends[slice(*tree.span(path))] for path in [("a",), ("b", "y"), ("b",)]] == [
        (("a",),),
        (("b", "y", "1"), ("b", "y", "2")),
        (("b", "x"), ("b", "y", "1"), ("b", "y", "2")),
    ]


def test_no_tree_has_no_paths() -> None:
    tree = PathTree(())
    assert (tree.ends, tree.levels, tree.sums(np.zeros(0))) == ((), (), [])
    assert PathTree.of_ends([]).ends == ()
