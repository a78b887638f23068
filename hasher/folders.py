"""The folders of generations in a data folder: how they are named, made and deleted."""

from __future__ import annotations

import re
import shutil
import uuid
from pathlib import Path

from hasher.identity import IDENTITY_FILE
from hasher.index_files import SAVING_PREFIX
from hasher.rows.records import Creation
from hasher.rows.store import RowStore
from lookalike.errors import InvalidInputError
from lookalike.files.disk import sync_folder
from lookalike.files.locks import LOCK_FILE

OWN_FILES = frozenset({LOCK_FILE, IDENTITY_FILE, f"{IDENTITY_FILE}.part"})
_CREATING, _DROPPED = ".creating-", ".dropped-"
UNFINISHED = (_CREATING, _DROPPED, SAVING_PREFIX)
"""What the names of folders start with that a process left half made or half deleted."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")


def is_generation_name(name: str) -> bool:
    """Returns whether a folder of that name in the data folder may be a generation's."""
    return _NAME.fullmatch(name) is not None and name not in OWN_FILES


def check_generation_name(name: str) -> None:
    """Checks what is to name a generation.

    Raises:
        InvalidInputError: It is malformed.
    """
    if not is_generation_name(name):
        raise InvalidInputError(
            f"generation {name!r} is not a valid name: 1 to 128 characters a-z, 0-9, '.', '_' and '-',"
            " starting with a letter or digit",
            field="generation",
        )


def make_folder(data_folder: Path, name: str, creation: Creation) -> None:
    """Makes the folder of a generation, durably. It gets its name when it is complete.

    Raises:
        OSError: It cannot be made; nothing is left of it.
        UnavailableError: The disk is full (``DISK_FULL``); nothing is left of it.
    """
    creating = data_folder / f"{_CREATING}{name}"
    shutil.rmtree(creating, ignore_errors=True)
    try:
        creating.mkdir()
        RowStore.create(creating, creation, name)
        sync_folder(creating)
        creating.rename(data_folder / name)
        sync_folder(data_folder)
    except BaseException:
        for folder in (creating, data_folder / name):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def delete_folder(data_folder: Path, name: str) -> None:
    """Deletes the folder of a generation, durably; an earlier attempt may have failed halfway.

    Raises:
        OSError: It cannot be deleted.
    """
    folder, dropped = data_folder / name, data_folder / f"{_DROPPED}{uuid.uuid4().hex}"
    if folder.exists():
        folder.rename(dropped)
    sync_folder(data_folder)
    shutil.rmtree(dropped, ignore_errors=True)
