"""The folder of a training run: what it needs to go on after it was stopped, its logs and its report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lookalike.errors import InvalidInputError, Reason
from lookalike.files.disk import FULL, part_of, replace_file
from lookalike.files.locks import LOCK_FILE, FolderLock

_IDENTITY = "run.json"
_PARTIAL_IDENTITY = part_of(Path(_IDENTITY)).name
_MADE_HERE = ("checkpoints", "tensorboard", "report")


def check_apart(folder: Path, out: Path) -> None:
    """Refuses a run folder and a bundle's folder of which one would replace or fill the other.

    Raises:
        InvalidInputError: The run would lie in the bundle, or the bundle among what a run replaces.
    """
    run, bundle = folder.resolve(), out.resolve()
    taken = [run / name for name in (*_MADE_HERE, _IDENTITY, _PARTIAL_IDENTITY, LOCK_FILE)]
    if run.is_relative_to(bundle) or any(bundle.is_relative_to(path) for path in taken):
        raise InvalidInputError(
            f"the model bundle {out} and the run folder {folder} overlap; name folders side by side",
            reason=Reason.CONFIG_INVALID,
        )


def check_run_folder(folder: Path) -> None:
    """Refuses a folder that holds something other than a training run.

    Raises:
        InvalidInputError: It does.
    """
    if not folder.is_dir() or (folder / _IDENTITY).is_file():
        return
    # A run that ended before it had an identity leaves no more than these.
    if {entry.name for entry in folder.iterdir()} - {LOCK_FILE, _PARTIAL_IDENTITY}:
        raise InvalidInputError(
            f"the folder {folder.name} holds something other than a training run; name another",
            reason=Reason.CONFIG_INVALID,
        )


@contextmanager
def run_folder_locked(folder: Path) -> Iterator[None]:
    """Keeps other runs out of a run's folder, which is made if missing.

    Raises:
        FailedPreconditionError: Another run has it.
        InvalidInputError: It cannot be made or written.
    """
    lock = FolderLock(folder, "training")
    try:
        yield
    finally:
        lock.release()


def open_run_folder(folder: Path, identity: dict[str, Any], *, resume: bool) -> None:
    """Makes a run's folder ready: empty, or as the stopped run left it.

    Args:
        folder: The folder; made if missing.
        identity: What decides the run's result, as JSON can hold it.
        resume: Go on with the run that is there. Where there is none, a new one starts.

    Raises:
        InvalidInputError: The run that is there had another identity or cannot be removed, or the folder
            is not one of a run.
    """
    check_run_folder(folder)
    file = folder / _IDENTITY
    wanted = json.dumps(identity, sort_keys=True, indent=2) + "\n"
    if resume and file.is_file():
        if file.read_bytes() != wanted.encode():
            raise InvalidInputError(
                f"the run in {folder} had {_difference(file, json.loads(wanted))}; give what it had, or "
                "start a new one without resuming",
                reason=Reason.CONFIG_INVALID,
            )
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _MADE_HERE:
            _remove(folder / name)
        # Whole or not at all: with half an identity the folder would be taken for something else.
        replace_file(file, wanted.encode())
    except OSError as error:
        if error.errno in FULL:
            raise
        # A new run would take the last one's checkpoints for its own.
        raise InvalidInputError(
            f"the last run in {folder} cannot be replaced: {error.filename}: {error.strerror}; "
            "remove it by hand or name another folder",
            reason=Reason.CONFIG_INVALID,
        ) from error


def _difference(file: Path, wanted: dict[str, Any]) -> str:
    """Says in which settings, or in what else, the run of an identity file differs from the wanted one."""
    try:
        had = json.loads(file.read_text(encoding="utf-8"))
        settings = had["settings"]
    except (ValueError, KeyError, TypeError):
        return "an identity that cannot be read"
    differences = [
        f"{name} {json.dumps(settings.get(name))}, not {json.dumps(value)}"
        for name, value in wanted["settings"].items()
        if settings.get(name) != value
    ]
    if had.get("catalog_sha256") != wanted["catalog_sha256"]:
        differences.append("another catalogue")
    if had.get("weights_sha256") != wanted["weights_sha256"]:
        differences.append("another backbone")
    return " and ".join(differences) or "other settings"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
