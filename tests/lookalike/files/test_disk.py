from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lookalike.files import disk
from lookalike.files.disk import FULL, make_folder, replace_file, writing

TARGET = Path("target")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_by_what_was_to_be_written(number: int) -> None:
    assert number in FULL
    with pytest.raises(OSError, match="no room") as caught, writing(TARGET):
        raise OSError(number, "no room", "source", None, "scratch")
    assert (caught.value.errno, caught.value.filename, caught.value.filename2) == (number, "target", None)


def test_other_errors_stay_what_they_are() -> None:
    error = PermissionError(errno.EACCES, "not allowed", "source")
    with pytest.raises(PermissionError) as caught, writing(TARGET):
        raise error
    assert caught.value is error


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was synced, by its name at that moment."""
    paths: list[Path] = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        paths.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return paths


def test_names_of_new_folders_are_synced(tmp_path: Path, synced: list[Path]) -> None:
    make_folder(tmp_path / "a" / "b")
    assert set(synced) == {tmp_path, tmp_path / "a"}
    synced.clear()
    # One that was made by a process that did not come to that, too.
    make_folder(tmp_path / "a")
    assert synced == [tmp_path]
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "file" / "a")


def test_a_replaced_file_is_synced_before_it_gets_its_name(tmp_path: Path, synced: list[Path]) -> None:
    for content in (b"first", b"second"):
        replace_file(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert synced == [tmp_path / "file.part", tmp_path] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_file(tmp_path / "file", b"first")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(OSError, match="no room") as caught:
        replace_file(tmp_path / "file", b"second")
    assert caught.value.filename == str(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"first"
