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


def test_classify_gives_one_path_and_full_paths_by_level(
    stack: Stack, photo_cases: dict[str, PhotoCase]
) -> None:
    with stack.client() as client:
        result = client.classify(photo_cases["jpeg"].content, k=10)
    levels = {
        level: [p for p in result.predictions if p.level == level] for level in ("meta", "level2", "leaf")
    }
    for depth, predictions in enumerate(levels.values(), start=1):
        assert predictions
        assert all(len(prediction.category) == depth for prediction in predictions)
        on_path = result.category[:depth] if len(result.category) >= depth else None
        assert on_path in (None, predictions[0].category)
        rest = [prediction.probability for prediction in predictions[0 if on_path is None else 1 :]]
        assert rest == sorted(rest, reverse=True)
    chances = {prediction.category: prediction.probability for prediction in result.predictions}
    for path, chance in chances.items():
        below = [other for other in chances if other[:-1] == path]
        assert not below or chance == pytest.approx(sum(chances[other] for other in below), abs=1e-4)
    assert sum(chances[prediction.category] for prediction in levels["meta"]) == pytest.approx(1, abs=1e-4)
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
        assert result.predicted_category
        for depth, level in enumerate(("meta", "level2", "leaf"), start=1):
            first = next(one.category for one in result.predicted_categories if one.level == level)
            if len(result.predicted_category) >= depth:
                assert first == result.predicted_category[:depth]
