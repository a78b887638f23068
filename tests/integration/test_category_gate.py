"""Votes on categories and searches that look by category, through real processes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from lookalike.client import CategoryGate, Equals, Filter, InCategory, Item, Search
from lookalike.errors import InvalidInputError, Reason
from tests.tiny_bundle import TINY_CATEGORIES

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Stack

NEW = ("hats", "straw")
CATEGORIES = (*TINY_CATEGORIES, NEW)


def photo(category: int, view: int) -> bytes:
    """A grid of colours that is the category's, with a little noise that is the view's."""
    grid = np.random.default_rng(category).integers(0, 256, (4, 4, 3))
    noise = np.random.default_rng([category, view]).normal(0, 12, (4, 4, 3))
    out = io.BytesIO()
    pixels = np.clip(grid + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Path:
    """Instead of the default model, one with a three-level tree."""
    return tiny_bundle


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Stack:
    """Five categories of six items, one that the model does not know among them."""
    with stack.client() as client:
        client.create_collection("shop")
        items = [
            Item(
                item_id=f"{number}-{view}",
                category=path,
                attributes={"parity": "even" if view % 2 == 0 else "odd"},
                image=photo(number, view),
            )
            for number, path in enumerate(CATEGORIES)
            for view in range(6)
        ]
        assert not client.upsert(items, collection="shop").failures
    return stack


def test_neighbours_know_new_categories(shop: Stack) -> None:
    asked = photo(len(TINY_CATEGORIES), 9)
    with shop.client() as client:
        alone = client.search(image=asked, collection="shop")
        assert alone.predicted_category in TINY_CATEGORIES
        assert alone.hits[0].category == NEW
        for restriction in ({}, {"filter": Equals("parity", "odd")}, {"min_score": 0.9}):
            voted = client.search(image=asked, collection="shop", category_vote=True, **restriction)
            assert voted.predicted_category == NEW
        found = client.classify(asked, collection="shop", k=10)
        assert found.category == NEW
        assert {one.category for one in found.predictions if one.level == "meta"} == {
            path[:1] for path in CATEGORIES
        }
        by_item = client.search(item_id="2-3", collection="shop", category_vote=True)
        assert by_item.predicted_category == CATEGORIES[2]


def test_a_narrowed_search_finds_only_what_it_says(shop: Stack) -> None:
    with shop.client() as client:
        for number, mass in ((0, 0.3), (1, 0.8), (4, 0.95)):
            for level, depth in (("meta", 1), ("level2", 2), ("leaf", 3)):
                gate = CategoryGate(level, mode="narrow", mass=mass)
                query = {"image": photo(number, 8), "collection": "shop", "k": 30}
                result = client.search(category_gate=gate, category_vote=True, **query)
                looked_in = {one.category for one in result.gated_categories}
                assert sum(one.probability for one in result.gated_categories) >= mass - 1e-4
                everything = client.search(**query).hits
                expected = [hit.item_id for hit in everything if hit.category[:depth] in looked_in]
                assert [hit.item_id for hit in result.hits] == expected


def test_a_narrowed_search_keeps_its_own_filter(shop: Stack) -> None:
    own = Filter(any=(InCategory(("shoes",)), InCategory(("clothes",))), none=(Equals("parity", "odd"),))
    with shop.client() as client:
        gate = CategoryGate("meta", mode="narrow", mass=0.5)
        result = client.search(
            image=photo(2, 8), collection="shop", k=30, category_gate=gate, category_vote=True, filter=own
        )
    assert [one.category for one in result.gated_categories] == [("shoes",)]
    assert {hit.category[0] for hit in result.hits} == {"shoes"}
    assert {hit.attributes["parity"] for hit in result.hits} == {"even"}
    assert len(result.hits) == 6


def test_a_boost_hides_nothing(shop: Stack) -> None:
    with shop.client() as client:
        query = {"image": photo(3, 8), "collection": "shop", "k": 30}
        plain, boosted = client.search(**query), client.search(category_gate="leaf", **query)
        assert {hit.item_id for hit in boosted.hits} == {hit.item_id for hit in plain.hits}
        assert boosted.gated_categories
        several = [
            Search(category_gate="meta", **query),
            Search(item_id="1-1", collection="shop", category_gate="meta", category_vote=True),
            Search(item_id="1-1", collection="shop", category_gate="meta"),
        ]
        first, second, third = client.multi_search(several)
        assert len(first.hits) == 30
        assert second.gated_categories
        assert third.reason is Reason.CATEGORY_NOT_PREDICTED


def test_a_gate_needs_a_prediction(shop: Stack) -> None:
    with shop.client() as client, pytest.raises(InvalidInputError) as caught:
        client.search(embedding=[1.0] * 16, collection="shop", category_gate="meta")
    assert (caught.value.reason, caught.value.field) == (Reason.CATEGORY_NOT_PREDICTED, "category_gate")


def test_the_command_line_looks_by_category(
    shop: Stack, run_cli: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(photo(4, 7))
    common = ("search", "--image", file, "--collection", "shop", "--gateway", shop.gateway.target)
    gate = ("--category-vote", "--category-gate", "meta", "--gate-mode", "narrow", "--gate-mass", "0.3")
    done = run_cli(*common, *gate, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["predicted_category"] == list(NEW)
    assert [one["category"] for one in result["gated_categories"]] == [["hats"]]
    assert {tuple(hit["category"]) for hit in result["hits"]} == {NEW}
    done = run_cli(*common, *gate)
    assert "looked by category: hats" in done.stderr
