"""The folder of a run: whose it is, what a new run leaves of the last one, and damage to what it holds."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from embedder.training.config import TrainConfig
from embedder.training.run_folder import check_run_folder, open_run_folder
from embedder.training.train import train
from lookalike.catalogue.catalog import Catalog
from lookalike.errors import FailedPreconditionError, InvalidInputError


def ignore(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """No one looks."""


def test_a_new_run_finds_nothing_of_the_last_one(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    open_run_folder(run, {"seed": 0}, resume=False)
    elsewhere.mkdir()
    (elsewhere / "train.ckpt").write_text("of seed 0")
    (run / "checkpoints").symlink_to(elsewhere)
    (run / "tensorboard").mkdir()
    (run / "report").write_text("a file")
    open_run_folder(run, {"seed": 1}, resume=False)
    assert [entry.name for entry in run.iterdir()] == ["run.json"]
    assert (elsewhere / "train.ckpt").read_text() == "of seed 0"


def test_what_cannot_be_removed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_run_folder(tmp_path, {"seed": 0}, resume=False)
    (tmp_path / "checkpoints").mkdir()

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(InvalidInputError, match="checkpoints: Permission denied; remove it by hand"):
        open_run_folder(tmp_path, {"seed": 1}, resume=False)


def test_a_full_disk_is_named_by_the_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "run.json.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        open_run_folder(tmp_path, {"seed": 0}, resume=False)
    assert caught.value.filename == str(tmp_path / "run.json")


def test_a_full_disk_while_training_is_named_by_the_run_folder(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorBoard's own error names no file."""

    def full(self: EventFileWriter) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(EventFileWriter, "flush", full)
    settings = config.model_copy(update={"epochs": 1, "run_folder": tmp_path / "run"})
    with pytest.raises(OSError, match="No space left") as caught:
        train(toy_catalog, tmp_path / "bundle", settings, ignore)
    assert caught.value.filename == str(tmp_path / "run")


def test_a_run_killed_before_it_had_an_identity_leaves_a_folder_to_use(tmp_path: Path) -> None:
    (tmp_path / "LOCK").touch()
    (tmp_path / "run.json.part").write_text("{")
    check_run_folder(tmp_path)
    (tmp_path / "dear.txt").touch()
    with pytest.raises(InvalidInputError, match="other than a training run"):
        check_run_folder(tmp_path)


def test_a_second_run_in_the_same_folder_is_refused(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path
) -> None:
    settings = config.model_copy(update={"epochs": 1, "run_folder": tmp_path / "run"})
    refused = []

    def start_another(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if not refused:
            with pytest.raises(FailedPreconditionError, match="in use by another training process") as error:
                train(toy_catalog, tmp_path / "other", settings, ignore)
            refused.append(error.value)

    train(toy_catalog, tmp_path / "bundle", settings, start_another)
    train(toy_catalog, tmp_path / "bundle", settings, ignore)  # the end of the first gave the folder back
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("out", "run", "problem"),
    [
        ("model", "model", "overlap"),
        ("model", "model/run", "overlap"),
        ("run/report", "run", "overlap"),
        ("dangling", "run", "link to nothing"),
        (".", "run", "cannot be replaced"),
        ("/", "run", "cannot be replaced"),
    ],
)
def test_folders_that_the_end_would_refuse_are_refused_at_the_start(
    toy_catalog: Catalog,
    config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    out: str,
    run: str,
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dangling").symlink_to("nowhere")
    reported: list[str] = []
    settings = config.model_copy(update={"run_folder": Path(run)})
    with pytest.raises(InvalidInputError, match=problem):
        train(toy_catalog, Path(out), settings, lambda stage, *_: reported.append(stage))
    assert reported == []
    assert os.listdir() == ["dangling"]


class Code:
    """What a hostile checkpoint may hold."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("executed",)


def test_a_damaged_checkpoint_is_refused_and_runs_no_code(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config.model_copy(update={"epochs": 1, "run_folder": tmp_path / "run"})
    train(toy_catalog, tmp_path / "bundle", settings, ignore)
    checkpoint = tmp_path / "run" / "checkpoints" / "train.ckpt"
    whole = checkpoint.read_bytes()
    stored = torch.load(checkpoint, weights_only=True)
    others = [{"callbacks": {}}, {"state_dict": {}}, {"optimizer_states": Code()}]
    for content in (b"", whole[: len(whole) // 2], stored["state_dict"], *(stored | one for one in others)):
        if isinstance(content, bytes):
            checkpoint.write_bytes(content)
        else:
            torch.save(content, checkpoint)
        with pytest.raises(InvalidInputError, match=r"train\.ckpt is damaged; start without --resume"):
            train(toy_catalog, tmp_path / "bundle", settings, ignore, resume=True)
    assert not Path("executed").exists()
