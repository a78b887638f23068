"""What a shard does where its disk is full."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hasher import disk as disk_module
from hasher.shard import Shard
from lookalike.errors import Reason, UnavailableError
from tests.hasher.changes import found, submit
from tests.hasher.faulty_vfs import faulty_disk


@pytest.fixture
def free_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the disk has left; tests change it."""
    free = [0]
    monkeypatch.setattr(disk_module.DiskWatch, "space", lambda self: (free[0], 1 << 30))
    return free


def test_a_full_disk_stops_writes_only_and_is_said_once(
    tmp_path: Path, rows: Any, free_bytes: list[int]
) -> None:
    with faulty_disk() as disk, capture_logs() as logs:
        disk.number = errno.ENOSPC
        shard = Shard(tmp_path / "data", 0, 1)
        shard.lock()
        shard.load()
        shard.create("g", rows.spec, "create-g")
        generation = shard.generation("g")
        submit(generation, rows, "r1", rows.upsert("a")).result(10)
        disk.refuse_write = lambda file: file == "-wal"
        for n in range(3):
            with pytest.raises(UnavailableError, match="the disk of the shard is full") as caught:
                submit(generation, rows, f"x{n}", rows.upsert("b")).result(10)
            assert caught.value.reason is Reason.DISK_FULL
        assert generation.stats().failure == "the disk of the shard is full"
        assert (shard.disk.is_full(), shard.not_ready_reason()) == (True, "")
        assert found(generation, rows, "a")
        disk.refuse_write = lambda file: False
        submit(generation, rows, "x0", rows.upsert("b")).result(10)
        assert (shard.disk.is_full(), generation.stats().failure) == (False, "")
        shard.close()
    told = [entry["event"] for entry in logs if "disk" in entry["event"]]
    assert told == ["disk_full", "disk_has_space_again"]


def test_a_collection_is_deleted_on_a_full_disk(tmp_path: Path, rows: Any) -> None:
    with faulty_disk() as disk:
        shard = Shard(tmp_path / "data", 0, 1)
        shard.lock()
        shard.load()
        shard.create("g", rows.spec, "create-g")
        submit(shard.generation("g"), rows, "r", rows.upsert("a")).result(10)
        disk.number = errno.ENOSPC
        disk.refuse_write = lambda file: True
        assert shard.drop("g") == 2
        assert [entry.name for entry in (tmp_path / "data").iterdir()] == ["LOCK"]
        shard.close()


def test_a_collection_that_finds_no_space_leaves_nothing_behind(
    shard: Shard, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_bytes: list[int]
) -> None:
    def no_space(self: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", no_space)
        with pytest.raises(UnavailableError, match="generation g cannot be created") as caught:
            shard.create("g", rows.spec, "create-g")
    assert caught.value.reason is Reason.DISK_FULL
    assert str(tmp_path) not in caught.value.message
    assert shard.disk.is_full()
    free_bytes[0] = 1 << 30
    assert not shard.disk.is_full()
    assert shard.create("g", rows.spec, "create-g") == 1


def test_a_quota_is_thought_used_up_for_a_while(
    shard: Shard, free_bytes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    free_bytes[0] = 1 << 40
    shard.disk.full()
    assert shard.disk.is_full()
    monkeypatch.setattr(disk_module, "_QUOTA_SECONDS", -1)
    assert not shard.disk.is_full()
