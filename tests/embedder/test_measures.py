from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.evaluation.measures import (
    Query,
    accuracy,
    average_precisions_at_r,
    first_hits,
    lca_heights,
    mean_over_queries,
    recalls,
    violation_rate,
)
from lookalike.errors import InvalidInputError

IDS = st.sampled_from([f"i{n}" for n in range(12)])
QUERIES = st.lists(
    st.builds(Query, st.lists(IDS, max_size=20), st.frozensets(IDS), st.none() | IDS), min_size=1, max_size=6
)


def naive_top(query: Query, k: int) -> tuple[list[str], list[str]]:
    """The first k results, and the right answers."""
    top: list[str] = []
    for result in query.ranked:
        if result not in top and result != query.own_id and len(top) < k:
            top.append(result)
    return top, [i for i in set(query.relevant) if i != query.own_id]


def naive_recall(query: Query, k: int, capped: bool) -> float | None:
    top, truth = naive_top(query, k)
    if not truth:
        return None
    found = sum(1 for i in truth if i in top)
    return found / (min(k, len(truth)) if capped else len(truth))


@given(QUERIES, st.integers(1, 15), st.booleans())
def test_mar_equals_a_naive_version(queries: list[Query], k: int, capped: bool) -> None:
    expected = [recall for query in queries if (recall := naive_recall(query, k, capped)) is not None]
    if not expected:
        with pytest.raises(InvalidInputError):
            mean_over_queries(recalls(queries, k, capped=capped))
        return
    assert mean_over_queries(recalls(queries, k, capped=capped)) == pytest.approx(np.mean(expected))


@given(QUERIES)
def test_r_at_1_and_map_at_r_equal_naive_versions(queries: list[Query]) -> None:
    first: list[float] = []
    precise: list[float] = []
    for query in queries:
        top, truth = naive_top(query, 100)
        if not truth:
            continue
        first.append(1.0 if top and top[0] in truth else 0.0)
        places = range(1, min(len(truth), len(top)) + 1)
        hits = [sum(r in truth for r in top[:i]) / i for i in places if top[i - 1] in truth]
        precise.append(sum(hits) / len(truth))
    if not first:
        with pytest.raises(InvalidInputError):
            mean_over_queries(average_precisions_at_r(queries))
        return
    assert mean_over_queries(first_hits(queries)) == pytest.approx(np.mean(first))
    assert mean_over_queries(average_precisions_at_r(queries)) == pytest.approx(np.mean(precise))


@given(QUERIES)
def test_the_measures_agree_where_they_must(queries: list[Query]) -> None:
    """AP@R is at most recall@R, equal to R@1 with one right answer, and 1 if all R are in front."""
    precise, first = average_precisions_at_r(queries), first_hits(queries)
    for number, query in enumerate(queries):
        truth = set(query.relevant) - {query.own_id}
        if not truth:
            assert np.isnan(precise[number])
            assert np.isnan(first[number])
            continue
        at_r = recalls([query], len(truth))[0]
        assert 0 <= precise[number] <= at_r + 1e-12
        assert (precise[number] == pytest.approx(1)) == (at_r == 1)
        if len(truth) == 1:
            assert precise[number] == first[number]


@given(QUERIES, st.integers(1, 15))
def test_capped_is_never_below_strict_and_both_stay_within_0_and_1(queries: list[Query], k: int) -> None:
    for strict, capped in zip(recalls(queries, k), recalls(queries, k, capped=True), strict=True):
        assert 0 <= strict <= capped <= 1 or np.isnan([strict, capped]).all()


@pytest.mark.parametrize(
    ("query", "strict", "capped", "first"),
    [
        pytest.param(Query(["a", "b"], {"a"}), 1, 1, 1, id="right at the top"),
        pytest.param(Query(["b", "a"], {"a"}), 1, 1, 0, id="right in second place"),
        pytest.param(
            Query(["a", "b", "c"], {"a", "c", "x"}), 1 / 3, 1 / 2, 1, id="cut after k; more truth than k"
        ),
        pytest.param(Query(["b", "b", "b", "a"], {"a"}), 1, 1, 0, id="repeats take one place"),
        pytest.param(Query(["a", "a"], {"a", "b"}), 1 / 2, 1 / 2, 1, id="a repeated hit counts once"),
        pytest.param(Query(["q", "a"], {"q", "a"}, "q"), 1, 1, 1, id="own id is neither result nor truth"),
        pytest.param(Query(["unknown"], {"a"}), 0, 0, 0, id="unknown id is a miss"),
        pytest.param(Query([], {"a"}), 0, 0, 0, id="no results"),
    ],
)
def test_edge_cases_at_2(query: Query, strict: float, capped: float, first: float) -> None:
    assert recalls([query], 2) == pytest.approx([strict])
    assert recalls([query], 2, capped=True) == pytest.approx([capped])
    assert first_hits([query]) == [first]


def test_queries_without_truth_are_left_out() -> None:
    queries = [Query(["a"], {"a"}), Query(["a"], set()), Query(["a"], {"q"}, own_id="q")]
    assert mean_over_queries(recalls(queries, 10)) == 1
    assert mean_over_queries(first_hits(queries)) == 1


def test_k_below_one_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="k must be at least 1"):
        recalls([Query(["a"], {"a"})], 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 3)), max_size=30))
def test_accuracy_equals_a_naive_version(rows: list[tuple[int, int | None]]) -> None:
    labelled = [(p, a) for p, a in rows if a is not None]
    actual = accuracy([p for p, _ in rows], [a for _, a in rows])
    if not labelled:
        assert actual is None
        return
    assert actual is not None
    per_class = [
        np.mean([p == a for p, a in labelled if a == label]) for label in sorted({a for _, a in labelled})
    ]
    assert actual.micro == pytest.approx(np.mean([p == a for p, a in labelled]))
    assert actual.macro == pytest.approx(np.mean(per_class))


def test_violations_are_children_of_another_parent() -> None:
    rows = [[("a",), ("a", "x"), ("a", "x", "1")]] * 2
    assert violation_rate(rows) == 0
    other_parent, other_grandparent = (
        [("b",), ("a", "x"), ("a", "x", "1")],
        [("a",), ("a", "y"), ("a", "x", "1")],
    )
    assert violation_rate([*rows, other_parent, other_grandparent]) == 0.5
    assert violation_rate([[("a",)]]) == 0


def test_a_path_that_ends_above_a_level_is_no_violation_there() -> None:
    ended, goes_on_elsewhere = [("a",), ("a",), ("a",)], [("a",), ("a",), ("b", "x", "1")]
    assert violation_rate([ended]) == 0
    assert violation_rate([ended, goes_on_elsewhere]) == 0.5


PATHS = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(tuple)
ROWS = st.lists(st.tuples(PATHS, PATHS), min_size=1, max_size=8)


def naive_height(node: tuple[str, ...], nodes: set[tuple[str, ...]]) -> int:
    children = [other for other in nodes if len(other) == len(node) + 1 and other[:-1] == node]
    return 1 + max(naive_height(child, nodes) for child in children) if children else 0


@given(ROWS, st.lists(PATHS, max_size=8))
def test_lca_heights_equal_a_naive_version(
    rows: list[tuple[tuple[str, ...], tuple[str, ...]]], categories: list[tuple[str, ...]]
) -> None:
    predicted, actual = [p for p, _ in rows], [a for _, a in rows]
    nodes = {path[:depth] for path in [*predicted, *actual, *categories] for depth in range(len(path) + 1)}
    for height, (guess, truth) in zip(lca_heights(predicted, actual, categories), rows, strict=True):
        ancestors = [truth[:depth] for depth in range(len(truth), -1, -1)]
        lowest = next(node for node in ancestors if node == guess[: len(node)])
        assert height == (0 if lowest == truth else naive_height(lowest, nodes))
        assert (height == 0) == (guess[: len(truth)] == truth)


def test_lca_heights_of_a_ragged_tree() -> None:
    tree = [("a", "x", "1"), ("a", "x", "2"), ("a", "y"), ("b",)]
    cases = [
        (("a", "x", "1"), ("a", "x", "1"), 0),
        (("a", "x", "2"), ("a", "x", "1"), 1),
        (("a", "x", "1"), ("a", "y"), 2),  # "a" has leaves one and two levels below
        (("b",), ("a", "x", "1"), 3),
        (("a", "x", "1"), ("a",), 0),  # the truth says no more than "a"
        (("a", "x"), ("a", "x", "1"), 1),  # stopped too early
        (("a", "x", "1"), ("a", "x", "unseen"), 1),
        (("a", "x", "1"), ("new", "unseen"), 3),
    ]
    found = lca_heights([p for p, _, _ in cases], [a for _, a, _ in cases], tree)
    assert found.tolist() == [height for _, _, height in cases]
