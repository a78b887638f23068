"""The vote of labelled items offline, against the definition."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from embedder.evaluation.voting import categories_by_vote, votes_on
from lookalike.catalogue.catalog import CatalogItem
from lookalike.categories.belief import Belief
from lookalike.categories.tree import PathTree


def item(name: str, *categories: str) -> CatalogItem:
    return CatalogItem(name, f"p-{name}", Path(name), "", categories)


def at(degrees: float) -> np.ndarray:
    return np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))], np.float32)


INDEX = [item("a", "x", "1"), item("b", "x", "2"), item("c", "y"), item("d"), item("gone", "z")]
VECTORS = {name: at(degrees) for name, degrees in {"a": 0, "b": 20, "c": 60, "d": 1, "q": 2, "r": 50}.items()}


def test_the_nearest_labelled_items_vote_and_no_item_on_itself() -> None:
    first, own = votes_on([item("q", "x"), item("a", "x", "1")], INDEX, VECTORS)
    cosines = {name: float(VECTORS["q"] @ VECTORS[name]) for name in "abc"}
    weights = {name: math.exp((cosine - cosines["a"]) / 0.07) for name, cosine in cosines.items()}
    total = sum(weights.values())
    expected = {("x", "1"): weights["a"], ("x", "2"): weights["b"], ("y",): weights["c"]}
    assert first == pytest.approx({path: weight / total for path, weight in expected.items()}, abs=1e-5)
    assert set(own) == {("x", "2"), ("y",)}


def test_model_and_vote_decide_together_and_the_vote_alone_without_a_model() -> None:
    rows = [item("q", "x", "1"), item("r", "y")]
    assert categories_by_vote(rows, INDEX, VECTORS, {}) == [("x", "1"), ("y",)]
    tree = PathTree.of_ends([("x", "1"), ("x", "2"), ("y",)])
    beliefs = {name: Belief(tree, np.array([0.0, 1.0, 0.0])) for name in "qr"}
    assert categories_by_vote(rows, INDEX, VECTORS, beliefs) == [("x", "2"), ("x", "2")]


def test_where_no_item_can_vote_nothing_is_said() -> None:
    assert categories_by_vote([item("q", "x")], [item("d")], VECTORS, {}) == []
    assert votes_on([], INDEX, VECTORS) == []
    assert votes_on([item("q")], [], VECTORS) == [{}]
