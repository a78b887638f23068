"""Fine-tuning the last stages on copies that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from embedder.training.config import TrainConfig
from embedder.training.run import TrainingRun
from embedder.training.train import train
from lookalike.catalogue.catalog import Catalog
from lookalike.errors import InvalidInputError

LAST_STAGE = {
    "epochs": 2,
    "fine_tune": True,
    "fine_tune_stages": 1,
    "fine_tune_copies": 2,
    "fine_tune_epochs": 3,
}


def ignore(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """No one looks."""


def test_copies_are_computed_once_and_only_the_last_stages_move(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    settings = config.model_copy(update=LAST_STAGE | {"cache_folder": tmp_path / "cache"}).check()
    told: list[tuple[int, int]] = []

    def note(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if stage == "activations":
            told.append((done, total))

    run = TrainingRun(toy_catalog, settings, note)
    before = {name: value.clone() for name, value in run.backbone.module.state_dict().items()}
    head, history = run.train()
    assert told[0] == (0, 72)  # two copies of 36 photos, then the 12 held out
    assert told[-1] == (12, 12)
    assert [len(epochs) for epochs in history.values()] == [2, 3]
    moved = {
        name
        for name, value in run.backbone.module.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved
    assert all(name.startswith("layer4") for name in moved)
    # What validated the last epoch read what was kept; this reads the photos.
    assert run.held_out
    again = run.outcome(head, run.held_out.items)
    macro = again.accuracies()["accuracy_leaf_macro"]
    assert macro == pytest.approx(history["fine-tune"][-1]["accuracy_leaf_macro"], abs=0.1)

    told.clear()
    TrainingRun(toy_catalog, settings, note).train()
    assert told[0] == (72, 72)
    assert told[-1] == (12, 12)


def test_another_number_of_stages_has_activations_of_its_own(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    first: list[int] = []
    for stages in (1, 2):
        update = LAST_STAGE | {"cache_folder": tmp_path / "cache", "fine_tune_stages": stages}
        begun: list[int] = []

        def note(
            stage: str, done: int, total: int, figures: Mapping[str, float], begun: list[int] = begun
        ) -> None:
            if stage == "activations":
                begun.append(done)

        TrainingRun(toy_catalog, config.model_copy(update=update).check(), note).train()
        first.append(begun[0])
    assert first == [0, 0]


def test_bfloat16_gives_about_the_same_model(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    vectors = []
    for precision in ("float32", "bfloat16"):
        update = LAST_STAGE | {"precision": precision, "fine_tune_share": 1.0}
        run = TrainingRun(toy_catalog, config.model_copy(update=update).check(), ignore)
        head, _ = run.train()
        assert all(value.dtype == torch.float32 for value in run.backbone.module.parameters())
        vectors.append(run.outcome(head, toy_catalog.rows("val")).embeddings)
    cosines = (vectors[0] * vectors[1]).sum(axis=1)
    assert float(np.min(cosines)) > 0.98
    assert not np.array_equal(vectors[0], vectors[1])


def test_kept_copies_want_last_stages_that_run_alone(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInputError, match="fine_tune_copies: read only with fine_tune_stages"):
        config.model_copy(update={"fine_tune": True, "fine_tune_copies": 2}).check()
    monkeypatch.setattr("embedder.training.inputs.upper_part", lambda *parts: None)
    settings = config.model_copy(update=LAST_STAGE).check()
    with pytest.raises(InvalidInputError, match="the last 1 stages of 'test_resnet' do not run apart"):
        train(toy_catalog, tmp_path / "bundle", settings, ignore)
