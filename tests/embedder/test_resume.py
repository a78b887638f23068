from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from embedder.training.config import TrainConfig
from embedder.training.train import train
from lookalike.catalogue.catalog import Catalog, write_catalog
from lookalike.errors import InvalidInputError


def ignore(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """No one looks."""


def command(catalog: Path, out: Path, config: TrainConfig, *more: str) -> list[str]:
    assert config.backbone.weights
    return [
        *(sys.executable, "-m", "lookalike.cli", "train", "--catalog", str(catalog), "--out", str(out)),
        *("--backbone", config.backbone.architecture, "--backbone-weights", str(config.backbone.weights)),
        *("--input-size", str(config.backbone.input_size), "--dimension", "32"),
        *("--epochs", "100", "--fine-tune", "--fine-tune-epochs", "8"),
        *("--set", "dropout=0.3", "--set", "match_calibration=false"),
        *("--cache", str(config.cache_folder), "--checkpoint-seconds", "0.1", "--json", *more),
    ]


def kill_after_checkpoint(arguments: list[str], checkpoint: Path, seconds: float) -> None:
    """Start a training process and kill it some time after its first checkpoint of a stage."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.is_file():
            assert process.poll() is None, process.communicate()[1].decode()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(seconds)
        assert process.poll() is None, "the run was over before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_run_that_is_killed_and_resumed_ends_as_if_it_had_not_been(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    """Killed twice at random steps: while the head learns, and while the network is fine-tuned."""
    settings = config.model_copy(
        update={
            "backbone": replace(config.backbone, input_size=64),
            "level_width": 128,
            "dropout": 0.3,
            "epochs": 100,
            "fine_tune": True,
            "fine_tune_epochs": 8,
            "threads": 0,
        }
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what the process is set to must not matter
    try:
        expected = train(toy_catalog, tmp_path / "expected", settings, ignore)
    finally:
        torch.set_num_threads(threads)

    catalog, out = toy_catalog.root / "catalog.csv", tmp_path / "resumed"
    write_catalog(catalog, toy_catalog.items)
    checkpoints = tmp_path / "resumed.training" / "checkpoints"
    chance = random.Random(7)
    kill_after_checkpoint(command(catalog, out, settings), checkpoints / "train.ckpt", chance.uniform(0, 0.3))
    resume = command(catalog, out, settings, "--resume")
    kill_after_checkpoint(resume, checkpoints / "fine-tune.ckpt", chance.uniform(0, 0.3))
    assert not out.exists()
    finished = subprocess.run(resume, check=True, capture_output=True)
    result = json.loads(finished.stdout)
    assert result["metrics"] == expected.metrics
    assert result["model_version"] == expected.bundle.model_version
    assert Path(result["report"]).is_file()


def test_a_finished_run_resumes_to_the_same_model(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    settings = config.model_copy(update={"run_folder": tmp_path / "run", "patience": 2})
    first = train(toy_catalog, tmp_path / "bundle", settings, ignore)
    steps: list[int] = []

    def on_progress(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if stage == "train":
            steps.append(done)

    again = train(toy_catalog, tmp_path / "bundle", settings, on_progress, resume=True)
    assert again.bundle.model_version == first.bundle.model_version
    assert again.history == first.history
    assert steps == []
    other = settings.model_copy(update={"seed": 1})
    with pytest.raises(InvalidInputError, match="had seed 0, not 1; give what it had"):
        train(toy_catalog, tmp_path / "bundle", other, ignore, resume=True)
    train(toy_catalog, tmp_path / "bundle", other, on_progress)
    assert steps[0] == 1


def test_a_folder_of_something_else_is_not_taken_for_a_run(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("diary")
    settings = config.model_copy(update={"run_folder": tmp_path / "letters"})
    with pytest.raises(InvalidInputError, match="other than a training run"):
        train(toy_catalog, tmp_path / "bundle", settings, ignore)
    assert (tmp_path / "letters" / "dear.txt").read_text() == "diary"
