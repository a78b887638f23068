"""What commands say, and exit with, where the error is not one of Lookalike's own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from lookalike.cli import app as cli
from lookalike.cli.app import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED, run
from lookalike.cli.evaluate import _show

FULL_DISK = Path("/dev/full")
VERSION = [sys.executable, "-m", "lookalike.cli", "--version"]


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def buffering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", request.param)


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs a command that fails with the error; returns the exit code."""
    broken = typer.Typer()

    @broken.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", broken)
    return run([])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, "x"), EXIT_FAILED, "the disk is full: cannot write the output; free"),
        (OSError(errno.ENOSPC, "x", "to"), EXIT_FAILED, "the disk is full: cannot write to; free"),
        (
            OSError(errno.ENOSPC, "x", "from", None, "to"),
            EXIT_FAILED,
            "the disk is full: cannot write to; free",
        ),
        (OSError(errno.EDQUOT, "x", "to"), EXIT_FAILED, "the disk quota is used up: cannot write to; free"),
        (PermissionError(errno.EACCES, "no", "file"), EXIT_BAD_INPUT, "cannot use file: no"),
        (
            ModuleNotFoundError("No module named 'PIL.Image'", name="PIL.Image"),
            EXIT_BAD_INPUT,
            "this command needs the package PIL; install lookalike[serve-embedder]",
        ),
        (
            ModuleNotFoundError("No module named 'shop'", name="shop"),
            EXIT_FAILED,
            "ModuleNotFoundError: No module named 'shop' (unexpected",
        ),
        (EOFError("Ran out of input"), EXIT_FAILED, "EOFError: Ran out of input (unexpected"),
        (UnicodeEncodeError("utf-8", "a\udce9", 1, 2, "surrogates not allowed"), 2, r"'a\udce9' is not Uni"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, ""),
        (typer.Abort(), EXIT_INTERRUPTED, ""),
    ],
)
def test_each_failure_is_one_line(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert failing(error, monkeypatch) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == bool(said)
    assert all(line.startswith(f"error: {said}") for line in lines)


def test_figures_that_are_not_known_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    _show({"recall@1": 1.0, "other": {"recall@10": None}}, None)
    assert capsys.readouterr().out.split() == ["recall@1", "1.0000"]


@pytest.mark.skipif(not FULL_DISK.exists(), reason="there is no device that is always full")
def test_figures_that_do_not_fit_on_the_disk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        _show({"recall@1": 1.0}, FULL_DISK)
    assert failing(caught.value, monkeypatch) == EXIT_FAILED
    assert "the disk is full: cannot write /dev/full;" in capsys.readouterr().err


@pytest.mark.skipif(not FULL_DISK.exists(), reason="there is no device that is always full")
def test_an_output_that_does_not_fit_on_the_disk(buffering: None) -> None:
    with FULL_DISK.open("w") as full:
        outcome = subprocess.run(VERSION, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert outcome.returncode == EXIT_FAILED
    assert outcome.stderr.splitlines() == [
        "error: the disk is full: cannot write the output; free some space and try again"
    ]


def test_nothing_is_said_to_a_reader_that_left_early(buffering: None) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    outcome = subprocess.run(VERSION, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (outcome.returncode, outcome.stderr) == (EXIT_FAILED, "")
