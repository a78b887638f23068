"""Photo files that a catalogue should not point at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from embedder.photos import naming, read_photo
from lookalike.errors import InvalidInputError, Reason
from lookalike.limits import MAX_IMAGE_BYTES


def test_a_photo_is_read(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"bytes")
    (tmp_path / "link.png").symlink_to("photo.png")
    assert read_photo(tmp_path / "photo.png") == read_photo(tmp_path / "link.png") == b"bytes"


@pytest.mark.timeout(10)
def test_pipes_folders_giants_and_impossible_names_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "giant").open("wb") as giant:
        giant.truncate(3 * 2**30)
    for name, problem in {
        "pipe": "not a regular file",
        ".": "not a regular file",
        "giant": f"3,221,225,472 bytes; at most {MAX_IMAGE_BYTES:,}",
        "nul\0.png": "null byte",
        "gone": "No such file",
    }.items():
        with pytest.raises(InvalidInputError, match=problem) as refused:
            read_photo(tmp_path / name)
        assert (refused.value.reason == Reason.IMAGE_TOO_LARGE) == (name == "giant")


def test_errors_can_name_the_photo(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"gone\.png: .*No such file"), naming(tmp_path / "gone.png"):
        read_photo(tmp_path / "gone.png")
