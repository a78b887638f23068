"""Ctrl-C and SIGTERM while a run trains, and training that diverges."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from embedder.training.config import TrainConfig
from embedder.training.interruption import Interruption
from embedder.training.train import train
from lookalike.catalogue.catalog import Catalog, write_catalog
from lookalike.cli.app import EXIT_INTERRUPTED, run
from lookalike.errors import InvalidInputError

pytestmark = pytest.mark.usefixtures("default_signals")


def ignore(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """No one looks."""


def test_ctrl_c_waits_for_the_step_and_a_second_one_does_not() -> None:
    reached = []

    def press_twice() -> None:
        with Interruption().watching():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("after the first")
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("after the second")

    def lose_a_worker_to_it() -> None:
        with Interruption().watching():
            os.kill(os.getpid(), signal.SIGINT)
            raise RuntimeError("a worker has ended")

    for interrupted in (press_twice, lose_a_worker_to_it):
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    assert reached == ["after the first"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_of_others_and_other_threads_are_left_alone() -> None:
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        with Interruption().watching():
            os.kill(os.getpid(), signal.SIGINT)
        assert pressed == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)
    failed: list[BaseException] = []

    def watch() -> None:
        try:
            with Interruption().watching():
                pass
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert failed == []


# Steps in the middle of an epoch and the very last one.
@pytest.mark.parametrize(
    ("stage", "step", "number"),
    [
        ("train", 6, signal.SIGINT),
        ("train", -1, signal.SIGINT),
        ("fine-tune", 6, signal.SIGINT),
        ("train", 6, signal.SIGTERM),
        ("fine-tune", 6, signal.SIGTERM),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_model(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path, stage: str, step: int, number: signal.Signals
) -> None:
    changes = {
        "epochs": 3,
        "fine_tune": True,
        "fine_tune_epochs": 2,
        "dropout": 0.3,
        "checkpoint_seconds": 600,
    }
    settings = config.model_copy(update=changes)
    expected = train(toy_catalog, tmp_path / "expected", settings, ignore)
    settings = settings.model_copy(update={"run_folder": tmp_path / "run"})
    steps: list[int] = []

    def interrupt(name: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if name == stage:
            steps.append(done)
            if done == step % (total + 1):
                os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        train(toy_catalog, tmp_path / "bundle", settings, interrupt)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    pressed_at = steps[-1]
    again = train(toy_catalog, tmp_path / "bundle", settings, lambda *_: None, resume=True)
    assert again.bundle.model_version == expected.bundle.model_version
    assert again.history == expected.history
    assert pressed_at == (6 if step == 6 else max(steps))


def test_the_command_says_how_to_go_on(
    toy_catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("embedder.training.train.train", interrupted)
    write_catalog(tmp_path / "catalog.csv", toy_catalog.items)
    assert run(["train", f"--catalog={tmp_path}/catalog.csv", f"--out={tmp_path}/model"]) == EXIT_INTERRUPTED
    assert "the same command with --resume goes on" in capsys.readouterr().err


def test_training_that_diverges_is_stopped(toy_catalog: Catalog, config: TrainConfig, tmp_path: Path) -> None:
    settings = config.model_copy(update={"learning_rate": 1e30, "epochs": 3, "run_folder": tmp_path / "run"})
    with pytest.raises(InvalidInputError, match=r"diverged: at step \d+ of 12 .*lower learning rates"):
        train(toy_catalog, tmp_path / "bundle", settings, ignore)
    assert not (tmp_path / "bundle").exists()
