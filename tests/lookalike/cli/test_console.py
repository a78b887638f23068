from __future__ import annotations

from types import SimpleNamespace

import pytest

from lookalike.cli import console
from lookalike.cli.train import training_progress


@pytest.fixture(autouse=True)
def line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 0.0)
    ticks = iter(range(1000))
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))


def test_without_a_terminal_progress_is_lines_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("Photos") as update:
        update(40, 100)  # these were there already
        update(50, 100, "fast")
        update(5, 0)
    assert capsys.readouterr().err.splitlines() == [
        "Photos: 40 of 100 after 1 s",
        "Photos: 50 of 100 after 2 s, about 10 s left (fast)",
        "Photos: 5 after 3 s",
    ]


def test_a_training_run_shows_loss_and_speed_of_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with training_progress("[2/4]") as on_progress:
        on_progress("features", 0, 64, {})
        on_progress("features", 32, 64, {"photos_per_second": 1234.5})
        on_progress("train", 1, 10, {"loss": 0.5, "photos_per_second": 9.0})
    assert capsys.readouterr().err.splitlines() == [
        "[2/4] Backbone features: 0 of 64 after 1 s",
        "[2/4] Backbone features: 32 of 64 after 2 s, about 2 s left (1,234 photos/s)",
        "[2/4] Training the head: 1 of 10 after 1 s (loss 0.500, 9 photos/s)",
    ]
