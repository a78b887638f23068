"""What is on the disk when, and what becomes of a disk that takes no more."""

from __future__ import annotations

import errno
import shutil
import threading
from pathlib import Path
from typing import Any

import apsw
import pytest

from hasher.rows import store as store_module
from hasher.rows.sqlite import concerns_file
from hasher.rows.store import ROWS_FILE, RowStore
from lookalike.errors import Reason, UnavailableError
from tests.hasher.faulty_vfs import faulty_disk
from tests.hasher.rows.conftest import Writer


def left_by_a_kill(write: Writer, folder: Path) -> Path:
    """Returns a copy of what is in the files of a store that is in use."""
    left = folder.parent / "left"
    left.mkdir()
    for name in (ROWS_FILE, f"{ROWS_FILE}-wal"):
        shutil.copy(folder / name, left / name)
    assert (left / f"{ROWS_FILE}-wal").stat().st_size
    return left


@pytest.fixture
def folder(tmp_path: Path, rows: Any) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    RowStore.create(folder, rows.creation(), "g")
    return folder


def test_a_commit_is_synced_before_it_is_answered(folder: Path, rows: Any) -> None:
    with faulty_disk() as disk:
        write = Writer(folder, rows)
        for n in range(3):
            disk.synced.clear()
            write.one(f"r{n}", rows.upsert("a", seed=n))
            assert "-wal" in disk.synced
        write.store.close()


def test_what_a_kill_left_unsynced_is_synced_before_a_repeated_write_is_answered(
    write: Writer, folder: Path, rows: Any
) -> None:
    first = write.one("r", rows.upsert("a"))
    left = left_by_a_kill(write, folder)
    with faulty_disk() as disk:
        again = Writer(left, rows)
        opened = list(disk.synced)
        assert again.one("r", rows.upsert("a")) == first
        again.store.close()
    # The log first, then the file that it is copied into.
    assert [file for file in opened if file in ("", "-wal")] == ["-wal", ""]


def test_a_file_opens_on_a_full_disk_with_its_log_synced(
    write: Writer, folder: Path, rows: Any, synced: list[Path]
) -> None:
    first = write.one("r", rows.upsert("a"))
    left = left_by_a_kill(write, folder)
    synced.clear()
    with faulty_disk() as disk:
        disk.refuse_write = lambda file: file == ""
        again = Writer(left, rows)
        assert synced == [left / f"{ROWS_FILE}-wal"]
        assert again.store.get(["a"], False)
        disk.refuse_write = lambda file: False
        assert again.one("r", rows.upsert("a")) == first
        again.store.close()


def test_a_quota_that_is_used_up_is_a_full_disk(folder: Path, rows: Any) -> None:
    with faulty_disk() as disk:
        write = Writer(folder, rows)
        write.one("r0", rows.upsert("a"))
        disk.refuse_write = lambda file: file == "-wal"
        with pytest.raises(UnavailableError, match="disk of the shard is full") as caught:
            write.one("r1", rows.upsert("b"))
        assert caught.value.reason is Reason.DISK_FULL
        disk.refuse_write = lambda file: False
        assert write.one("r1", rows.upsert("b")).position == 3
        write.store.close()


@pytest.mark.parametrize("fault", ["write", "sync"])
def test_other_failures_of_the_disk_are_not_taken_for_a_full_one(folder: Path, rows: Any, fault: str) -> None:
    """A failed fsync is not one, even where it says so: nobody knows what it left."""
    with faulty_disk() as disk:
        write = Writer(folder, rows)
        disk.number = errno.EIO if fault == "write" else errno.ENOSPC
        disk.refuse_sync = fault == "sync"
        disk.refuse_write = lambda file: fault == "write"
        with pytest.raises(apsw.IOError) as caught:
            write.one("r1", rows.upsert("b"))
        assert concerns_file(caught.value)
        disk.refuse_sync, disk.refuse_write = False, lambda file: False
        write.store.close()


@pytest.mark.parametrize("gone", ["deleted", "file deleted", "log deleted", "replaced"])
def test_files_that_are_no_longer_in_their_folder_are_noticed(
    write: Writer, folder: Path, rows: Any, gone: str
) -> None:
    write.one("r0", rows.upsert("a"))
    assert write.store.in_place()
    if gone == "deleted":
        shutil.rmtree(folder)
    elif gone == "file deleted":
        (folder / ROWS_FILE).unlink()
    elif gone == "log deleted":
        (folder / f"{ROWS_FILE}-wal").unlink()
    else:
        shutil.copy(folder / ROWS_FILE, folder / "other")
        (folder / "other").replace(folder / ROWS_FILE)
    assert not write.store.in_place()


class BusyReaders:
    """Two readers, at least one of whom is in a transaction at every moment."""

    def __init__(self, store: RowStore) -> None:
        self._store = store
        self._turn = threading.Barrier(2)
        self._stop = False
        self._threads = [threading.Thread(target=self._read, args=(first,)) for first in (True, False)]

    def _read(self, first: bool) -> None:
        with self._store._readers.connection() as connection:
            try:
                while True:
                    if not first:
                        self._turn.wait(10)
                    first = False
                    connection.execute("BEGIN")
                    connection.execute("SELECT count(*) FROM meta").fetchall()
                    self._turn.wait(10)
                    self._turn.wait(10)
                    connection.execute("COMMIT")
                    if self._stop:
                        self._turn.abort()
            except threading.BrokenBarrierError:
                if connection.in_transaction:
                    connection.execute("COMMIT")

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop = True
        for thread in self._threads:
            thread.join()


def test_the_log_stays_bounded_under_readers_that_never_pause(
    write: Writer, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 128 * 1024
    monkeypatch.setattr(store_module, "WAL_LIMIT_BYTES", limit)
    # A machine that others keep busy lets readers hold the log for longer than the usual patience.
    monkeypatch.setattr(store_module, "_RESTART_PATIENCE_SECONDS", 60)
    write.store._restart_above = limit
    sizes = []
    with BusyReaders(write.store):
        for n in range(60):
            write.store.bound_wal()
            write.one(f"r{n}", *(rows.upsert(f"i{m}", seed=n) for m in range(20)))
            sizes.append(write.store.wal_bytes())
    one = max(sizes[n] - sizes[n - 1] for n in range(1, len(sizes)))
    assert max(sizes) <= limit + one
    assert len(write.store.get([f"i{m}" for m in range(20)], False)) == 20


def test_a_reader_that_stays_is_not_waited_for_again_and_again(
    write: Writer, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 128 * 1024
    tried: list[int] = []
    monkeypatch.setattr(store_module, "WAL_LIMIT_BYTES", limit)
    monkeypatch.setattr(store_module, "_RESTART_PATIENCE_SECONDS", 0.01)
    restart = store_module.restart_wal
    monkeypatch.setattr(
        store_module, "restart_wal", lambda *arguments: tried.append(1) or restart(*arguments)
    )
    write.store._restart_above = limit
    with write.store._readers.connection() as connection:
        connection.execute("BEGIN; SELECT count(*) FROM rows")
        for n in range(60):
            write.store.bound_wal()
            write.one(f"r{n}", *(rows.upsert(f"i{m}", seed=n) for m in range(20)))
        grown = write.store.wal_bytes()
        assert grown > 4 * limit
        assert 0 < len(tried) <= grown // (limit // 4)
        connection.execute("COMMIT")
    write.store._restart_above = 0
    write.store.bound_wal()
    write.one("last", rows.upsert("a"))
    assert write.store._restart_above == limit
