"""The commands that talk to a gateway, against one with canned answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from lookalike.cli.app import run


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], threaded_target: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs one command line."""
    monkeypatch.setenv("LOOKALIKE_GATEWAY", threaded_target)

    def call(*arguments: object) -> Outcome:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (8, 8), "red").save(path)
    return path
