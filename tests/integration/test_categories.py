"""Classify and predicted categories, with a model that has categories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import PhotoCase, Stack


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Path:
    """Instead of the default model, one with a three-level tree."""
    return tiny_bundle


def test_classify_gives_full_paths_best_first(stack: Stack, photo_cases: dict[str, PhotoCase]) -> None:
    with stack.client() as client:
        result = client.classify(photo_cases["jpeg"].content, k=10)
    levels = {
        level: [p for p in result.predictions if p.level == level] for level in ("meta", "level2", "leaf")
    }
    for depth, predictions in enumerate(levels.values(), start=1):
        assert predictions
        assert all(len(prediction.category) == depth for prediction in predictions)
        chances = [prediction.probability for prediction in predictions]
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) == pytest.approx(1.0, abs=1e-4)
    assert {p.category for p in levels["leaf"]} >= {
        ("clothes", "sport", "running"),
        ("shoes", "sport", "running"),
    }


def test_search_by_photo_predicts_categories(stack: Stack, photo_cases: dict[str, PhotoCase]) -> None:
    with stack.client() as client:
        client.create_collection("shop")
        result = client.search(image=photo_cases["jpeg"].content, collection="shop")
        assert not result.hits
        assert {prediction.level for prediction in result.predicted_categories} == {"meta", "level2", "leaf"}
