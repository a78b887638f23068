"""Training in several processes, which Lightning starts by running the command again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from embedder.bundle import load_bundle
from embedder.training.config import TrainConfig
from lookalike.catalogue.catalog import Catalog, write_catalog


def test_two_processes_train_and_fine_tune_one_model(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    catalog, out = tmp_path / "catalog.csv", tmp_path / "bundle"
    write_catalog(catalog, toy_catalog.items)
    assert config.backbone.weights

    def command(out: Path, devices: int) -> list[str]:
        return [
            *(sys.executable, "-m", "lookalike.cli", "train", "--catalog", str(catalog), "--out", str(out)),
            *("--backbone", config.backbone.architecture, "--backbone-weights", str(config.backbone.weights)),
            *("--cache", str(config.cache_folder), "--dimension", "32", "--epochs", "3", "--json"),
            *("--fine-tune", "--fine-tune-epochs", "2", "--patience", "2"),
            *("--devices", str(devices), "--set", "accelerator=cpu", "--set", "threads=1"),
        ]

    # The pipes close when the last process has ended, so this waits for all of them.
    done = subprocess.run(command(out, 2), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)  # only one of them answers
    bundle = load_bundle(out)
    assert answer["model_version"] == bundle.model_version
    # Each process drops out other values and contrasts its own part of a batch: one alone ends elsewhere.
    subprocess.run(command(tmp_path / "alone", 1), capture_output=True, check=True, timeout=240)
    assert (tmp_path / "alone" / "model.onnx").read_bytes() != (out / "model.onnx").read_bytes()
    checkpoints = tmp_path / "bundle.training" / "checkpoints"
    assert {file.name for file in checkpoints.iterdir()} == {"train.ckpt", "fine-tune.ckpt"}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        *("alone", "alone.training", "bundle", "bundle.training", "catalog.csv")
    ]
