"""The folder of a training run: what it needs to go on after it was stopped, its logs and its report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from lookalike.errors import InvalidInputError, Reason

_IDENTITY = "run.json"
_MADE_HERE = ("checkpoints", "tensorboard", "report")


def check_run_folder(folder: Path) -> None:
    """Refuse a folder that holds something other than a training run.

    Raises:
        InvalidInputError: It does.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _IDENTITY).is_file():
        raise InvalidInputError(
            f"The folder {folder.name} holds something other than a training run; name another.",
            reason=Reason.CONFIG_INVALID,
        )


def open_run_folder(folder: Path, identity: dict[str, Any], *, resume: bool) -> None:
    """Make a run's folder ready: empty, or as the stopped run left it.

    Args:
        folder: The folder; made if missing.
        identity: What decides the run's result, as JSON can hold it.
        resume: Go on with the run that is there. Where there is none, a new one starts.

    Raises:
        InvalidInputError: The run that is there had another identity, or the folder is none of a run.
    """
    check_run_folder(folder)
    file = folder / _IDENTITY
    wanted = json.dumps(identity, sort_keys=True, indent=2) + "\n"
    if resume and file.is_file():
        if file.read_text() != wanted:
            raise InvalidInputError(
                f"The run in {folder.name} had other settings, another catalogue or another backbone; "
                "start a new one without resuming.",
                reason=Reason.CONFIG_INVALID,
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in _MADE_HERE:
        shutil.rmtree(folder / name, ignore_errors=True)
    file.write_text(wanted)
