"""What a shard does where its disk is full."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hasher import disk as disk_module
from hasher.generation import Generation
from hasher.shard import Shard
from lookalike.errors import Reason, UnavailableError
from lookalike.v1 import types_pb2
from tests.hasher.faulty_vfs import faulty_disk
from tests.hasher.generations import found, opened, submit
from tests.small_disk import small_disk

DISK_BYTES = 1 << 30
RESERVE_BYTES = DISK_BYTES * 5 // 100


@pytest.fixture
def free_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What a disk of 1 GiB has left; tests change it."""
    free = [DISK_BYTES]
    monkeypatch.setattr(disk_module.DiskWatch, "space", lambda self: (free[0], DISK_BYTES))
    return free


def disk_events(logs: Any) -> list[str]:
    return [entry["event"] for entry in logs if "disk" in entry["event"]]


def test_a_full_disk_stops_writes_only_and_is_said_once(
    tmp_path: Path, rows: Any, free_bytes: list[int]
) -> None:
    with faulty_disk() as disk, capture_logs() as logs:
        disk.number = errno.ENOSPC
        shard = opened(tmp_path / "data")
        shard.create("g", rows.spec, "create-g")
        generation = shard.generation("g")
        submit(generation, rows, "r1", rows.upsert("a")).result(10)
        disk.refuse_write = lambda file: file == "-wal"
        free_bytes[0] = 0
        for n in range(3):
            with pytest.raises(UnavailableError, match="the disk of the shard is full") as caught:
                submit(generation, rows, f"x{n}", rows.upsert("b")).result(10)
            assert caught.value.reason is Reason.DISK_FULL
        assert generation.stats().failure == "the disk of the shard is full"
        assert (shard.disk.is_full(), shard.not_ready_reason()) == (True, "")
        assert found(generation, rows, "a")
        disk.refuse_write = lambda file: False
        free_bytes[0] = DISK_BYTES
        submit(generation, rows, "x0", rows.upsert("b")).result(10)
        assert (shard.disk.is_full(), generation.stats().failure) == (False, "")
        shard.close()
    assert disk_events(logs) == ["disk_full", "disk_has_space_again"]


def test_the_last_of_the_space_is_for_deletions(
    generation: Generation, rows: Any, free_bytes: list[int], shard: Shard
) -> None:
    submit(generation, rows, "r1", *(rows.upsert(name) for name in "abc")).result(10)
    free_bytes[0] = RESERVE_BYTES - 1
    with capture_logs() as logs:
        with generation.store._write_lock:
            # Whatever the writer has taken by now waits here, and the rest shares one commit.
            deleted = [submit(generation, rows, f"d{name}", rows.delete(name)) for name in "ab"]
            refused = [submit(generation, rows, f"u{name}", rows.upsert(name)) for name in "cd"]
            deleted.append(submit(generation, rows, "dc", rows.delete("c")))
        assert all(one.result(10).outcomes[0].existed for one in deleted)
        for one in refused:
            with pytest.raises(UnavailableError, match="it takes no items, only deletions") as caught:
                one.result(10)
            assert caught.value.reason is Reason.DISK_FULL
        assert shard.disk.is_full()
        # Nothing is written for what was done before, or is not to be done.
        assert submit(generation, rows, "r1", *(rows.upsert(name) for name in "abc")).result(10)
        assert submit(generation, rows, "c", rows.upsert("x", if_version=7)).result(10).outcomes[0].conflict
        assert shard.disk.is_full()
        free_bytes[0] = 2 * RESERVE_BYTES
        submit(generation, rows, "ud", rows.upsert("d")).result(10)
    assert not shard.disk.is_full()
    assert disk_events(logs) == ["disk_full", "disk_has_space_again"]
    assert generation.store.item_count == 1
    assert found(generation, rows, "d")


def test_rows_take_the_place_of_deleted_ones_on_a_full_disk(
    generation: Generation, rows: Any, free_bytes: list[int]
) -> None:
    ids = [f"i{n}" for n in range(2000)]
    submit(generation, rows, "r1", *map(rows.upsert, ids)).result(20)
    free_bytes[0] = RESERVE_BYTES
    with pytest.raises(UnavailableError, match="the disk of the shard is full"):
        submit(generation, rows, "r2", rows.upsert("new")).result(10)
    submit(generation, rows, "r3", *map(rows.delete, ids)).result(20)
    submit(generation, rows, "r4", rows.upsert("new")).result(10)
    free_bytes[0] = RESERVE_BYTES // 2
    with pytest.raises(UnavailableError, match="the disk of the shard is full"):
        submit(generation, rows, "r5", rows.upsert("newer")).result(10)


def test_what_waits_together_does_not_take_the_reserve_together(
    generation: Generation, rows: Any, free_bytes: list[int]
) -> None:
    size = rows.change("size", rows.upsert("a")).row_bytes
    free_bytes[0] = RESERVE_BYTES + 3 * size
    first = submit(generation, rows, "r1", rows.upsert("a"))
    with pytest.raises(UnavailableError, match="the disk of the shard is full"):
        submit(generation, rows, "r2", rows.upsert("b"), rows.upsert("c")).result(10)
    assert first.result(10)


def test_an_index_is_not_saved_into_the_reserve(
    shard: Shard, generation: Generation, rows: Any, free_bytes: list[int]
) -> None:
    submit(generation, rows, "r1", rows.upsert("a")).result(10)
    free_bytes[0] = RESERVE_BYTES
    with capture_logs() as logs:
        shard.checkpoint()
    assert [entry["event"] for entry in logs] == ["disk_full", "index_not_saved"]
    assert generation.unsaved_changes
    free_bytes[0] = DISK_BYTES
    shard.checkpoint()
    assert not generation.unsaved_changes


@pytest.mark.parametrize(
    ("free", "size", "needed", "reused", "has_room"),
    [
        (50, 1000, 0, False, True),
        (50, 1000, 1, False, False),
        (35, 1000, 10, True, True),
        (34, 1000, 10, True, False),
        (128 << 20, 1 << 50, 0, False, True),
        (128 << 20, 1 << 50, 1, False, False),
        (0, 0, 10, False, True),
    ],
)
def test_the_reserve(
    free: int,
    size: int,
    needed: int,
    reused: bool,
    has_room: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disk_module.DiskWatch, "space", lambda self: (free, size))
    assert disk_module.DiskWatch(tmp_path).has_room(needed, reused=reused) is has_room


def test_a_collection_is_deleted_on_a_full_disk(tmp_path: Path, rows: Any) -> None:
    with faulty_disk() as disk:
        shard = opened(tmp_path / "data")
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

    free_bytes[0] = 0
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", no_space)
        with pytest.raises(UnavailableError, match="generation g cannot be created") as caught:
            shard.create("g", rows.spec, "create-g")
    assert caught.value.reason is Reason.DISK_FULL
    assert str(tmp_path) not in caught.value.message
    assert shard.disk.is_full()
    free_bytes[0] = DISK_BYTES
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


# A disk that is really small


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 48 MB."""
    with small_disk(tmp_path / "disk", 48 << 20) as mounted:
        if not mounted:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
                "no disk can be mounted here: that takes root, and a container that allows it"
            )
        yield tmp_path / "disk"


def large(rows: Any, item_id: str) -> Any:
    item = types_pb2.Item(item_id=item_id, attributes={f"text-{n}": "x" * 1000 for n in range(4)})
    return rows.upsert(item_id)._replace(item=item.SerializeToString())


def write(generation: Generation, rows: Any, *mutations: Any) -> bool:
    """Whether a change was acknowledged; the disk is full where it was not."""
    error = submit(generation, rows, f"{mutations[0]}", *mutations).exception(30)
    if error is not None:
        assert isinstance(error, UnavailableError)
        assert error.reason is Reason.DISK_FULL
    return error is None


def test_deletions_free_a_disk_that_is_full_of_rows(disk: Path, rows: Any) -> None:
    folder = disk / "data"
    shard = opened(folder)
    shard.create("g", rows.spec, "create-g")
    generation, kept, batch = shard.generation("g"), [], 0
    while write(generation, rows, *(large(rows, f"i{batch}-{n}") for n in range(20))):
        kept += [f"i{batch}-{n}" for n in range(20)]
        batch += 1
    assert len(kept) > 1000
    assert shard.disk.space()[0] > 1 << 20, "the reserve is left"
    while len(kept) > 100:
        gone, kept = kept[:100], kept[100:]
        assert write(generation, rows, *map(rows.delete, gone))
    assert write(generation, rows, *(large(rows, f"new-{n}") for n in range(100)))
    kept += [f"new-{n}" for n in range(100)]
    shard.close()
    shard = opened(folder)
    assert [row.item for row in shard.generation("g").get(kept, False)] == [
        large(rows, item_id).item for item_id in kept
    ]
    assert shard.item_count() == len(kept)
    shard.close()


def test_nothing_is_lost_where_others_take_the_last_of_the_space(disk: Path, rows: Any) -> None:
    folder = disk / "data"
    shard = opened(folder)
    shard.create("g", rows.spec, "create-g")
    generation = shard.generation("g")
    ids = [f"i{n}" for n in range(2000)]
    for first in range(0, len(ids), 100):
        assert write(generation, rows, *(large(rows, item_id) for item_id in ids[first : first + 100]))
    with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))
    assert not write(generation, rows, large(rows, "new"))
    gone = [item_id for item_id in ids if write(generation, rows, rows.delete(item_id))]
    (disk / "ballast").unlink()
    shard.close()
    shard = opened(folder)
    left = [item_id for item_id in ids if item_id not in set(gone)]
    assert len(shard.generation("g").get(ids, False)) == len(left) == shard.item_count()
    assert write(shard.generation("g"), rows, large(rows, "new"), *map(rows.delete, left))
    assert shard.item_count() == 1
    shard.close()
