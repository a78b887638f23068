from __future__ import annotations

import errno
from pathlib import Path

import pytest

from lookalike.files import disk
from lookalike.files.disk import (
    FULL,
    make_folder,
    part_of,
    put_in_place,
    replace_file,
    replace_folder,
    writing,
)

TARGET = Path("target")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_reported_by_what_was_to_be_written(number: int) -> None:
    assert number in FULL
    with pytest.raises(OSError, match="no room") as caught, writing(TARGET):
        raise OSError(number, "no room", "source", None, "scratch")
    assert (caught.value.errno, caught.value.filename, caught.value.filename2) == (number, "target", None)


def test_other_errors_stay_what_they_are() -> None:
    error = PermissionError(errno.EACCES, "not allowed", "source")
    with pytest.raises(PermissionError) as caught, writing(TARGET):
        raise error
    assert caught.value is error


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
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_for_which_there_is_no_room_is_named(tmp_path: Path) -> None:
    part_of(tmp_path / "file").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        replace_file(tmp_path / "file", b"content")
    assert caught.value.filename == str(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_file_of_others_is_synced_before_it_is_put_in_place(tmp_path: Path, synced: list[Path]) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "new").write_text("new")
    put_in_place(tmp_path / "new", tmp_path / "file")
    assert synced == [tmp_path / "new", tmp_path]
    assert (tmp_path / "file").read_text() == "new"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A folder that gets the name of another, in one of its own."""
    folder = tmp_path / "scratch" / "new"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").write_text("new")
    return folder


@pytest.mark.parametrize("there", [True, False])
def test_a_replaced_folder_is_synced_with_all_that_is_in_it(
    tmp_path: Path, new: Path, synced: list[Path], there: bool
) -> None:
    target, old = tmp_path / "target", tmp_path / "scratch" / "old"
    if there:
        target.mkdir()
        (target / "file").write_text("old")
    replace_folder(new, target, old)
    assert set(synced[:-2]) == {new / "inner", new / "inner" / "file"}
    assert synced[-2:] == [new, tmp_path]
    assert (target / "inner" / "file").read_text() == "new"
    assert old.exists() is there
    assert not there or (old / "file").read_text() == "old"


@pytest.mark.parametrize("failing", ["target", "new"])
def test_a_folder_that_cannot_be_replaced_comes_back(
    tmp_path: Path, new: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    target, rename = tmp_path / "target", Path.rename
    target.mkdir()
    (target / "file").write_text("old")

    def fails_once(source: Path, to: Path) -> Path:
        if source.name == failing:
            monkeypatch.setattr(Path, "rename", rename)
            raise OSError(errno.ENOSPC, "no room", str(source))
        return rename(source, to)

    monkeypatch.setattr(Path, "rename", fails_once)
    with pytest.raises(OSError, match="no room") as caught:
        replace_folder(new, target, tmp_path / "scratch" / "old")
    assert caught.value.filename == str(target)
    assert (target / "file").read_text() == "old"
    assert not (tmp_path / "scratch" / "old").exists()
