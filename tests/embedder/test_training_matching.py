"""Whether hits are as likely right as a trained model says, of products that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedder.evaluation.offline import evaluate_bundle
from embedder.training.config import TrainConfig
from embedder.training.matching import calibrate_matches
from embedder.training.run import TrainingRun
from embedder.training.train import train
from lookalike.catalogue.catalog import Catalog


def ignore(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """No one looks."""


@pytest.fixture(scope="session")
def calibrated(config: TrainConfig) -> TrainConfig:
    return config.model_copy(update={"match_calibration": True, "epochs": 4})


def with_index(catalog: Catalog) -> Catalog:
    """The last view of each product is indexed, and the others are trained on."""
    items = [
        replace(item, splits=frozenset({"index"})) if "val" in item.splits else item for item in catalog.items
    ]
    return Catalog(tuple(items), catalog.root)


def test_a_trained_bundle_makes_probabilities_of_its_scores(
    toy_catalog: Catalog, calibrated: TrainConfig, tmp_path: Path
) -> None:
    config = calibrated.model_copy(update={"run_folder": tmp_path / "run"})
    result = train(toy_catalog, tmp_path / "bundle", config, ignore)
    calibration = result.bundle.match_calibration
    assert calibration is not None
    assert calibration.fitted_searches == 2 * 36
    assert "36 searches, each by a network that was not trained on its product" in result.matching
    assert 0 <= result.metrics["match_ece"] <= 1
    assert result.bundle.manifest.metrics["match_ece"] == result.metrics["match_ece"]
    assert result.report is not None
    page = result.report.read_text()
    assert "How likely hits are right" in page
    assert f"calibration error is {result.metrics['match_ece']:.3f}" in page
    assert (result.report.parent / "reliability.png").read_bytes().startswith(b"\x89PNG")
    again = train(toy_catalog, tmp_path / "again", calibrated, ignore)
    assert again.bundle.model_version == result.bundle.model_version


def test_no_network_is_asked_for_a_product_that_it_was_trained_on(
    toy_catalog: Catalog, calibrated: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[set[str]] = []
    asked: list[set[str]] = []
    only = TrainingRun.only

    def noting(run: TrainingRun, rows: np.ndarray) -> TrainingRun:
        part = only(run, rows)
        trained.append({item.product_id for item in part.rows.items})
        asked.append({item.product_id for item in run.rows.items} - trained[-1])
        return part

    monkeypatch.setattr(TrainingRun, "only", noting)
    run = TrainingRun(toy_catalog, calibrated, ignore)
    head, _ = run.train()
    matched = calibrate_matches(run, head, ignore)
    assert matched.calibration is not None
    assert sorted(product for products in asked for product in products) == sorted(
        {item.product_id for item in toy_catalog.items}
    )
    assert not any(one & other for one, other in zip(trained, asked, strict=True))
    assert {item.product_id for item in run.rows.items} == {item.product_id for item in toy_catalog.items}


def test_the_index_is_searched_where_it_shows_the_products(
    toy_catalog: Catalog, calibrated: TrainConfig
) -> None:
    run = TrainingRun(with_index(toy_catalog), calibrated, ignore)
    head, _ = run.train()
    assert run.bad_photos == {}
    matched = calibrate_matches(run, head, ignore)
    assert len(matched.present) == 36
    found = run.readable(run.index)
    assert [item.item_id for item in found] == [f"{product}-3" for product in range(12)]


def test_photos_of_the_index_that_are_missing_do_not_stop_training(
    toy_catalog: Catalog, calibrated: TrainConfig, tmp_path: Path
) -> None:
    items = [
        replace(item, image_path=tmp_path / "gone.png") if "index" in item.splits else item
        for item in with_index(toy_catalog).items
    ]
    result = train(Catalog(tuple(items), toy_catalog.root), tmp_path / "bundle", calibrated, ignore)
    assert result.bundle.match_calibration is not None
    assert result.bad_photos == {}


def held_out(catalog: Catalog) -> Catalog:
    """Six products to train on and six, with all their views, to validate on."""
    items = [
        replace(item, splits=frozenset({"train" if int(item.product_id[1:]) % 2 else "val"}))
        for item in catalog.items
    ]
    return Catalog(tuple(items), catalog.root)


def test_a_fine_tuned_network_is_asked_for_the_products_that_were_held_out(
    toy_catalog: Catalog, calibrated: TrainConfig, tmp_path: Path
) -> None:
    config = calibrated.model_copy(update={"fine_tune": True, "fine_tune_epochs": 1, "epochs": 1})
    result = train(held_out(toy_catalog), tmp_path / "bundle", config, ignore)
    assert result.matching == "24 searches for products held out"
    assert result.bundle.match_calibration is not None
    without = train(toy_catalog, tmp_path / "other", config, ignore)
    assert without.bundle.match_calibration is None
    assert "--hold-out" in without.matching
    assert "match_ece" not in without.metrics


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"match_calibration": False}, "match_calibration is off"),
        ({"identity": "pseudo"}, "products' ids"),
    ],
)
def test_why_there_is_no_calibration_is_said(
    toy_catalog: Catalog, calibrated: TrainConfig, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    config = calibrated.model_copy(update={**changes, "run_folder": tmp_path / "run"})
    result = train(toy_catalog, tmp_path / "bundle", config, ignore)
    assert result.bundle.match_calibration is None
    assert words in result.matching
    assert result.report is not None
    assert "The model has no calibration" in result.report.read_text()


@pytest.mark.parametrize("whitening", [False, True])
def test_a_backbone_alone_is_calibrated_too(
    toy_catalog: Catalog, calibrated: TrainConfig, tmp_path: Path, whitening: bool
) -> None:
    config = TrainConfig(
        backbone=calibrated.backbone,
        head="none",
        whitening=whitening,
        cache_folder=calibrated.cache_folder,
        **({"embedding_dim": 32} if whitening else {}),
    )
    result = train(toy_catalog, tmp_path / "bundle", config, ignore)
    assert result.bundle.match_calibration is not None


def test_an_evaluation_says_how_far_they_can_be_believed(
    toy_catalog: Catalog, calibrated: TrainConfig, tmp_path: Path
) -> None:
    bundle = train(toy_catalog, tmp_path / "bundle", calibrated, ignore).bundle
    items = [
        replace(item, splits=frozenset({"query" if "val" in item.splits else "index"}))
        for item in toy_catalog.items
    ]
    catalog = Catalog(tuple(items), toy_catalog.root)
    figures = evaluate_bundle(catalog, bundle.path, update=lambda done, total: None).figures["match"]
    assert figures["queries"] == 24
    assert figures["absent_share"] == 0.5
    assert 0 <= figures["ece"] <= 1
    assert set(figures["not_here"]) == {"0.1", "0.2", "0.3", "0.5", "0.7", "0.9"}


def test_without_a_calibration_an_evaluation_says_nothing_of_it(
    toy_catalog: Catalog, tiny_bundle: Path
) -> None:
    items = [
        replace(item, splits=frozenset({"query" if "val" in item.splits else "index"}))
        for item in toy_catalog.items
    ]
    catalog = Catalog(tuple(items), toy_catalog.root)
    measured = evaluate_bundle(catalog, tiny_bundle, update=lambda done, total: None)
    assert measured.figures["match"] is None
