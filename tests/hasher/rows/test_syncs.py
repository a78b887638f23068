"""Fsyncs are timed one by one, and are those that there would be without the watch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from hasher.rows.store import RowStore
from hasher.rows.syncs import SyncedFile, SyncWatch
from lookalike._native import SyncTimes
from tests.hasher.faulty_vfs import Faults, faulty_disk

FILES: dict[str, SyncedFile] = {"-wal": "log", "": "rows"}
"""Ending of a file's name → what it is called."""


class Watched:
    """A store whose fsyncs are noted, by what times them and by the disk."""

    def __init__(self, folder: Path, rows: Any, disk: Faults) -> None:
        self._rows, self._disk, self._position = rows, disk, 1
        self.took: list[tuple[SyncedFile, float]] = []
        self.store = RowStore(folder, "g", lambda file, seconds: self.took.append((file, seconds)))
        disk.synced.clear()

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            change = self._rows.change(f"r{self._position}", self._rows.upsert(f"i{self._position}"))
            self.store.apply(self._rows.records(self._position, change))
            self._position += 1

    @property
    def files(self) -> list[SyncedFile]:
        return [file for file, _ in self.took]


@pytest.fixture
def disk() -> Iterator[Faults]:
    with faulty_disk() as disk:
        yield disk


def test_each_fsync_is_timed_and_none_is_added(folder: Path, rows: Any, disk: Faults) -> None:
    watched = Watched(folder, rows, disk)
    assert watched.took == [], "what opening the file took is no write's"
    watched.write(3)
    # The first commit also syncs the header of the log.
    assert watched.files == ["log"] * 4 == [FILES[ending] for ending in disk.synced]
    watched.store._restart_above = 0
    watched.store.bound_wal()
    assert "rows" in watched.files
    watched.write()
    watched.store.record_index(1)
    assert sorted(watched.files) == sorted(FILES[ending] for ending in disk.synced)
    watched.store.close()


def test_syncs_and_files_are_the_same_without_the_watch(
    tmp_path: Path, rows: Any, disk: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unwatched:
        def __init__(self, *_: Any) -> None:
            pass

        def report(self) -> None:
            pass

    synced = []
    for name, watch in (("with", SyncWatch), ("without", Unwatched)):
        folder = tmp_path / name
        folder.mkdir()
        RowStore.create(folder, rows.creation(), "g")
        monkeypatch.setattr("hasher.rows.store.SyncWatch", watch)
        watched = Watched(folder, rows, disk)
        watched.write(40)
        sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
        watched.store.close()
        synced.append((sizes, list(disk.synced), sorted(file.name for file in folder.iterdir())))
    assert synced[0] == synced[1]


def test_a_slow_disk_shows_in_the_fsync(folder: Path, rows: Any, disk: Faults) -> None:
    watched = Watched(folder, rows, disk)
    watched.write()
    watched.took.clear()
    disk.sync_seconds = 0.05
    watched.write()
    ((file, seconds),) = watched.took
    assert file == "log"
    assert seconds >= 0.05
    watched.store.close()


def test_a_failed_fsync_fails_the_write_and_is_timed(folder: Path, rows: Any, disk: Faults) -> None:
    watched = Watched(folder, rows, disk)
    disk.refuse_sync = True
    with pytest.raises(apsw.IOError) as caught:
        watched.write()
    assert caught.value.extendedresult == apsw.SQLITE_IOERR_FSYNC
    assert watched.files == ["log"]
    disk.refuse_sync = False
    watched.store.close()


def test_a_plain_file_system_is_watched_as_well(folder: Path, rows: Any) -> None:
    watched = Watched(folder, rows, Faults())
    watched.write(2)
    assert set(watched.files) == {"log"}
    assert all(seconds > 0 for _, seconds in watched.took)
    watched.store.close()
    again = RowStore(folder, "g")
    assert again.item_count == 2
    again.close()


def test_a_file_that_is_not_open_is_not_watched() -> None:
    with pytest.raises(ValueError, match="not open"):
        SyncTimes().watch(0)
