"""The directory's file: restarts, kills, full disks, older and newer schemas."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from gateway.directory.base import Change, State
from gateway.directory.sqlite import SqliteDirectory
from lookalike.collections import Rerank, Spec
from lookalike.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    NotFoundError,
    Reason,
    UnavailableError,
)
from lookalike.matching import MatchCalibration

SPEC = Spec("m", 4, 64, 8, Rerank.INT8)
FILE = "collections.sqlite"
SCHEMA_1, SCHEMA_2 = (Path(__file__).parent / "data" / f"collections-{schema}.sqlite" for schema in (1, 2))
CALIBRATION = MatchCalibration(20.0, 0.4, 0.5, 0.2, fitted_searches=90)


@pytest.fixture
def old_folder(tmp_path: Path) -> Path:
    """A data folder with the file that commit 8ec0972 wrote."""
    folder = tmp_path / "old"
    folder.mkdir()
    shutil.copy(SCHEMA_1, folder / FILE)
    return folder


async def _make(directory: SqliteDirectory, name: str = "shop") -> str:
    await directory.begin_create(name, SPEC)
    return (await directory.finish_create(name)).generation


async def test_the_record_survives_a_restart(tmp_path: Path) -> None:
    first = SqliteDirectory(tmp_path)
    generation = await _make(first)
    await first.set_alias("live", "shop")
    await first.set_alias("old", "shop")
    await first.delete_alias("old")
    await first.begin_create("half", SPEC)
    await _make(first, "gone")
    await first.begin_delete("gone")
    before = first.collections()
    first.close()
    second = SqliteDirectory(tmp_path)
    assert second.collections() == before
    assert [(c.name, c.state.value) for c in before] == [
        ("gone", "deleting"),
        ("half", "creating"),
        ("shop", "ready"),
    ]
    assert second.aliases() == [("live", "shop")]
    assert (second.resolve("live").generation, second.resolve("live").spec) == (generation, SPEC)
    assert (second.installation_id, second.layout_epoch) == (first.installation_id, 1)
    await second.finish_delete("gone")
    assert second.find("gone") is None
    second.close()


async def test_what_a_kill_leaves_in_the_log_is_synced_before_it_is_built_on(tmp_path: Path) -> None:
    """A repeated SetAlias or CreateCollection writes nothing, so opening the file syncs what it finds."""
    killed, left = tmp_path / "killed", tmp_path / "left"
    before = SqliteDirectory(killed)
    await _make(before)
    await before.set_alias("live", "shop")
    assert (killed / f"{FILE}-wal").stat().st_size > 0
    shutil.copytree(killed, left)
    before.close()
    after = SqliteDirectory(left)
    assert (left / f"{FILE}-wal").stat().st_size == 0
    assert await after.set_alias("live", "shop") == "shop"
    after.close()


async def test_a_new_folder_is_on_the_disk_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.add(os.fstat(fd).st_ino), fsync(fd)))
    folder = tmp_path / "data"
    SqliteDirectory(folder).close()
    assert {folder.stat().st_ino, tmp_path.stat().st_ino} <= synced


async def test_a_file_of_the_first_schema_is_migrated(old_folder: Path) -> None:
    for _ in range(2):
        directory = SqliteDirectory(old_folder)
        found = {c.name: (c.generation, c.state.value, c.spec) for c in directory.collections()}
        directory.close()
        assert found == {
            "shop": ("shop.2", "ready", Spec("3f9c2a7be1", 256, 256, 1024, Rerank.F32)),
            "shoes": ("shoes.1", "ready", Spec("3f9c2a7be1", 128, 512, 64, Rerank.F32)),
            "half": ("half.1", "creating", Spec("m", 4, 64, 8, Rerank.F32)),
            "gone": ("gone.1", "deleting", Spec("m", 4, 64, 8, Rerank.F32)),
        }
        assert directory.aliases() == [("live", "shop"), ("test", "shop")]
        assert directory.layout_epoch == 1
        assert len(directory.installation_id) == 32


async def test_a_migrated_file_takes_writes(old_folder: Path) -> None:
    directory = SqliteDirectory(old_folder)
    installation_id = directory.installation_id
    await directory.finish_delete("gone")
    generation = await _make(directory, "gone")
    await directory.set_alias("live", "gone")
    directory.close()
    again = SqliteDirectory(old_folder)
    assert again.resolve("live").generation == generation
    assert again.installation_id == installation_id
    again.close()


async def test_a_file_of_the_second_schema_is_migrated(tmp_path: Path) -> None:
    """It is that of commit 2b9a75f."""
    shutil.copy(SCHEMA_2, tmp_path / FILE)
    before = SqliteDirectory(tmp_path)
    (shop,) = before.collections()
    assert (shop.name, shop.generation, shop.spec, shop.match_calibration) == (
        "shop",
        "shop.2c6d1f66fd3a1a1cb0a5",
        SPEC,
        None,
    )
    assert (before.installation_id, before.aliases()) == ("0123456789abcdef" * 2, [("live", "shop")])
    await before.set_match_calibration(shop, CALIBRATION)
    before.close()
    after = SqliteDirectory(tmp_path)
    assert after.resolve("live").match_calibration == CALIBRATION
    after.close()


async def test_a_calibration_survives_a_restart_and_goes_with_its_collection(tmp_path: Path) -> None:
    first = SqliteDirectory(tmp_path)
    await _make(first)
    changed = await first.set_match_calibration(first.resolve("shop"), CALIBRATION)
    assert first.resolve("shop") == changed
    first.close()
    second = SqliteDirectory(tmp_path)
    shop = second.resolve("shop")
    assert (shop, shop.match_calibration) == (changed, CALIBRATION)
    await second.set_match_calibration(shop, None)
    second.close()
    third = SqliteDirectory(tmp_path)
    assert third.resolve("shop").match_calibration is None
    await third.set_match_calibration(shop, CALIBRATION)
    await third.begin_delete("shop")
    with pytest.raises(NotFoundError):
        await third.set_match_calibration(shop, CALIBRATION)
    await third.finish_delete("shop")
    await _make(third)
    with pytest.raises(FailedPreconditionError) as caught:
        await third.set_match_calibration(shop, CALIBRATION)
    assert caught.value.reason is Reason.GENERATION_MOVED
    assert third.resolve("shop").match_calibration is None
    third.close()


async def test_a_newer_schema_is_refused_by_name_and_left_alone(tmp_path: Path) -> None:
    SqliteDirectory(tmp_path).close()
    with apsw.Connection(str(tmp_path / FILE)) as db:
        db.pragma("user_version", 4)
    db.close()
    with pytest.raises(InvalidInputError, match="schema 4, which a newer version") as caught:
        SqliteDirectory(tmp_path)
    assert caught.value.reason is Reason.CONFIG_INVALID
    db = apsw.Connection(str(tmp_path / FILE))
    assert db.pragma("user_version") == 4
    db.close()


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(DataLossError, match="damaged"):
        SqliteDirectory(tmp_path)
    with pytest.raises(InvalidInputError, match="data_folder"):
        SqliteDirectory(file)


class FullFile(apsw.VFSFile):
    """A file that cannot grow any more once the disk is said to be full."""

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        if FullDisk.error is not None and offset + len(data) > self.xFileSize():
            raise FullDisk.error
        super().xWrite(data, offset)


class FullDisk(apsw.VFS):
    """The machine's own disk, which can be made full."""

    error: Exception | None = None

    def __init__(self) -> None:
        super().__init__("full", "", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> FullFile:  # noqa: N802
        return FullFile("unix", name, flags)


@pytest.fixture
def disk() -> Iterator[type[FullDisk]]:
    vfs = FullDisk()
    yield FullDisk
    FullDisk.error = None
    vfs.unregister()


async def test_a_full_disk_is_named_and_writes_go_on_when_there_is_space(
    tmp_path: Path, disk: type[FullDisk]
) -> None:
    directory = SqliteDirectory(tmp_path)
    await _make(directory)
    disk.error = apsw.FullError()
    for write in (directory.set_alias("live", "shop"), directory.begin_create("other", SPEC)):
        with pytest.raises(UnavailableError, match="gateway's disk is full") as caught:
            await write
        assert caught.value.reason is Reason.DISK_FULL
    assert (directory.aliases(), directory.find("other"), directory.failure) == ([], None, "")
    disk.error = None
    assert await directory.set_alias("live", "shop") == ""
    directory.close()


async def test_an_io_error_ends_writes_until_a_restart_and_reads_go_on(
    tmp_path: Path, disk: type[FullDisk]
) -> None:
    directory = SqliteDirectory(tmp_path)
    await _make(directory)
    disk.error = apsw.IOError()
    for _ in range(2):
        with pytest.raises(UnavailableError, match="restart the gateway") as caught:
            await directory.set_alias("live", "shop")
        assert caught.value.reason is Reason.DIRECTORY_UNAVAILABLE
        disk.error = None
    assert directory.failure
    assert directory.resolve("shop").state is State.READY
    directory.close()
    again = SqliteDirectory(tmp_path)
    await again.set_alias("live", "shop")
    again.close()


@pytest.mark.parametrize("replaced", [False, True])
async def test_nothing_is_acknowledged_once_the_folder_is_gone(tmp_path: Path, replaced: bool) -> None:
    folder = tmp_path / "data"
    directory = SqliteDirectory(folder)
    await _make(directory)
    shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(folder)
    if replaced:
        (tmp_path / "copy").rename(folder)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="deleted or replaced") as caught:
            await directory.set_alias("live", "shop")
        assert caught.value.reason is Reason.DIRECTORY_UNAVAILABLE
    assert directory.aliases() == []
    directory.close()


async def test_a_folder_that_is_gone_shows_before_anything_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    directory = SqliteDirectory(folder)
    assert not directory.failure
    shutil.rmtree(folder)
    assert "deleted or replaced" in directory.failure
    directory.close()


def test_running_out_of_descriptors_names_the_limit(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        with pytest.raises(UnavailableError, match=r"256 .*ulimit -n"):
            SqliteDirectory(tmp_path)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_write_whose_caller_has_gone_is_still_seen(
    directory: SqliteDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has it, so the memory must have it, too."""
    await _make(directory)
    stored, go_on = directory._store, threading.Event()

    def slowly(change: Change) -> None:
        go_on.wait(10)
        stored(change)

    monkeypatch.setattr(directory, "_store", slowly)
    call = asyncio.create_task(directory.set_alias("live", "shop"))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert directory.aliases() == []
    go_on.set()
    await directory.set_alias("other", "shop")
    assert directory.aliases() == [("live", "shop"), ("other", "shop")]


async def test_writes_leave_the_event_loop_free_and_take_turns(directory: SqliteDirectory) -> None:
    threads: list[str] = []
    stored = directory._store

    def noting(change: Change) -> None:
        threads.append(threading.current_thread().name)
        stored(change)

    directory._store = noting  # type: ignore[method-assign]
    outcomes = await asyncio.gather(
        *(directory.begin_create("shop", SPEC) for _ in range(3)), return_exceptions=True
    )
    assert sum(isinstance(outcome, LookalikeError) for outcome in outcomes) == 2
    assert threads == ["directory_0"]


async def test_a_collection_made_again_is_not_the_one_that_was_meant(directory: SqliteDirectory) -> None:
    await _make(directory)
    meant = directory.resolve("shop")
    directory.check_current(meant)
    await directory.begin_delete("shop")
    with pytest.raises(NotFoundError):
        directory.check_current(meant)
    await directory.finish_delete("shop")
    await _make(directory)
    with pytest.raises(FailedPreconditionError) as caught:
        directory.check_current(meant)
    assert caught.value.reason is Reason.GENERATION_MOVED
