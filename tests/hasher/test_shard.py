from __future__ import annotations

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from hasher.generation import Generation
from hasher.log.direct import DirectLog
from hasher.rows.apply import Applier
from hasher.shard import Shard
from lookalike.collections import Spec
from lookalike.errors import (
    AlreadyExistsError,
    DataLossError,
    FailedPreconditionError,
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    Reason,
    UnavailableError,
)
from tests.hasher import port_search
from tests.hasher.generations import opened
from tests.hasher.port_search import SearchQuery


def reopened(shard: Shard, folder: Path) -> Shard:
    shard.close()
    return opened(folder, shard.identity.shard, shard.identity.shard_count)


def search(generation: Generation, vector: Any, k: int = 5, **options: Any) -> list[bytes]:
    answer = port_search.search(generation, SearchQuery(vector[None, :], k, **options))
    return [hit.document for hit in answer.hits[0]]


def write(generation: Generation, rows: Any, *mutations: Any) -> int:
    request_id = f"w{generation.position}"
    return generation.submit(rows.change(request_id, *mutations)).result(10).position


def test_a_write_is_searchable_when_it_is_answered(generation: Generation, rows: Any) -> None:
    first = rows.upsert("a", "p")
    assert write(generation, rows, first, rows.upsert("b")) == 2
    assert search(generation, first.vector, k=1) == [first.document]
    moved = rows.upsert("a", "q", seed=99)
    write(generation, rows, moved)
    assert search(generation, moved.vector, k=1) == [moved.document]
    write(generation, rows, rows.delete("a"))
    assert moved.document not in search(generation, moved.vector)


def test_answer_reports_what_it_rests_on(generation: Generation, rows: Any) -> None:
    write(generation, rows, *(rows.upsert(f"i{n}") for n in range(20)))
    query = np.stack([rows.vector(1), rows.vector(2)])
    answer = port_search.search(generation, SearchQuery(query, 3, exact=True))
    assert (answer.codes_total, answer.position) == (20, 2)
    assert answer.codes_scanned == [20, 20]
    assert [len(hits) for hits in answer.hits] == [3, 3]


def test_concurrent_retries_are_applied_once(generation: Generation, rows: Any) -> None:
    changes = [rows.change(f"r{i % 10}", rows.upsert(f"i{i % 10}")) for i in range(100)]
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda change: generation.submit(change).result(20), changes))
    # Each has a place in the log, whatever becomes of it there.
    assert generation.position == 101
    for i, result in enumerate(results):
        assert result == results[i % 10]
        assert not result.outcomes[0].existed


def test_waiting_changes_share_a_commit(
    generation: Generation, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    monkeypatch.setattr(
        generation._log._metrics, "grouped", lambda changes, mutations: groups.append(changes)
    )
    with generation.store._write_lock:
        futures = [generation.submit(rows.change(f"r{i}", rows.upsert(f"i{i}"))) for i in range(50)]
    positions = [future.result(10).position for future in futures]
    assert positions == list(range(2, 52))
    assert sum(groups) == 50
    assert len(groups) <= 2


def test_too_many_waiting_changes_are_refused(tmp_path: Path, rows: Any) -> None:
    shard = opened(tmp_path, open_log=lambda name: DirectLog(max_pending=3))
    shard.create("g", rows.spec, "create-g")
    generation = shard.generation("g")
    with generation.store._write_lock:
        futures = []
        with pytest.raises(OverloadedError) as caught:
            # Far more than fit: the writer may have taken a few before it met the lock.
            futures.extend(generation.submit(rows.change(f"r{i}", rows.upsert(f"i{i}"))) for i in range(1000))
        assert caught.value.retry_after_seconds > 0
    shard.close()


def test_waits_for_a_position(generation: Generation, rows: Any) -> None:
    assert generation.wait_for({}).done()
    assert generation.wait_for({0: 1, 7: 0}).done()
    waiting, later, elsewhere = (generation.wait_for(where) for where in ({0: 2}, {0: 3}, {0: 2, 1: 1}))
    write(generation, rows, rows.upsert("a"))
    waiting.result(10)
    assert not later.done()
    assert not elsewhere.done()


def test_everything_is_back_after_a_restart(shard: Shard, rows: Any, tmp_path: Path) -> None:
    for name in ("g1", "g2"):
        shard.create(name, rows.spec, f"create-{name}")
        write(shard.generation(name), rows, *(rows.upsert(f"{name}-{i}", f"p{i % 7}") for i in range(30)))

    def reported(shard: Shard) -> list[Any]:
        # What changed lately takes other room until it is saved.
        return [replace(generation.stats(), index_bytes=0) for generation in shard.generations()]

    before = reported(shard)
    found = search(shard.generation("g2"), rows.vector(3), k=10)
    again = reopened(shard, tmp_path / "data")
    assert reported(again) == before
    assert search(again.generation("g2"), rows.vector(3), k=10) == found
    again.close()


def test_only_the_same_request_finds_what_it_has_created(shard: Shard, rows: Any) -> None:
    assert shard.create("g", rows.spec, "create-g") == 1
    write(shard.generation("g"), rows, rows.upsert("a"))
    assert shard.create("g", rows.spec, "create-g") == 2
    with pytest.raises(AlreadyExistsError, match="another spec"):
        shard.create("g", Spec("model-2", 16, 64, 1024), "create-g")
    with pytest.raises(AlreadyExistsError, match="another request"):
        shard.create("g", rows.spec, "of another directory")
    assert shard.generation("g").store.item_count == 1


def test_drop_leaves_nothing(shard: Shard, rows: Any, tmp_path: Path) -> None:
    shard.create("g", rows.spec, "create-g")
    dropped = shard.generation("g")
    write(dropped, rows, rows.upsert("a"))
    assert shard.drop("g") == 2
    assert shard.drop("g") == 0
    assert [entry.name for entry in (tmp_path / "data").iterdir()] == ["LOCK"]
    with pytest.raises(NotFoundError):
        shard.generation("g")
    with pytest.raises(UnavailableError):
        dropped.submit(rows.change("late", rows.upsert("b")))
    with pytest.raises(UnavailableError):
        dropped.get(["a"], False)
    with pytest.raises(AlreadyExistsError, match="deleted"):
        shard.create("g", rows.spec, "create-g")


def test_a_drop_that_failed_is_finished_when_it_is_repeated(
    shard: Shard, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    for name, failing in (("renamed", "hasher.folders.sync_folder"), ("kept", "pathlib.Path.rename")):
        shard.create(name, rows.spec, f"create-{name}")
        with monkeypatch.context() as patched:
            patched.setattr(failing, full)
            with pytest.raises(UnavailableError, match="the disk of the shard is full") as caught:
                shard.drop(name)
        assert caught.value.reason is Reason.DISK_FULL
        synced: list[Path] = []
        with monkeypatch.context() as patched:
            patched.setattr("hasher.folders.sync_folder", synced.append)
            assert shard.drop(name) == 0
        assert synced == [folder]
        assert not (folder / name).exists()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "A", "-a", ".hidden", "a" * 129, "a\n", "ä"]
)
def test_names_that_could_leave_the_folder_are_refused(shard: Shard, rows: Any, name: str) -> None:
    for call in (
        lambda: shard.create(name, rows.spec, f"create-{name}"),
        lambda: shard.drop(name),
        lambda: shard.generation(name),
    ):
        with pytest.raises(InvalidInputError) as caught:
            call()
        assert caught.value.field == "generation"


def test_half_made_and_dropped_folders_are_cleared(shard: Shard, rows: Any, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shard.create("g", rows.spec, "create-g")
    for name in (".creating-x", ".dropped-y", ".saving-z"):
        (folder / name).mkdir()
        (folder / name / "rows.sqlite").write_bytes(b"half")
    (folder / "Notes.txt").write_text("mine")
    again = reopened(shard, folder)
    assert sorted(entry.name for entry in folder.iterdir()) == ["LOCK", "Notes.txt", "g"]
    assert [generation.name for generation in again.generations()] == ["g"]
    again.close()


def test_folder_of_another_process_is_refused(shard: Shard, tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError, match="in use by another hasher"):
        Shard(tmp_path / "data", 0, 1).lock()


def test_rows_of_another_layout_are_refused(shard: Shard, rows: Any, tmp_path: Path) -> None:
    shard.create("g", rows.spec, "create-g")
    shard.close()
    other = Shard(tmp_path / "data", 1, 2)
    other.lock()
    with pytest.raises(FailedPreconditionError, match="shard 0 of 1") as caught:
        other.load()
    assert caught.value.reason is Reason.SHARD_LAYOUT_MISMATCH
    other.close()


def test_damaged_rows_stop_the_start(shard: Shard, rows: Any, tmp_path: Path) -> None:
    for name in ("good", "poor"):
        shard.create(name, rows.spec, f"create-{name}")
    shard.close()
    path = tmp_path / "data" / "poor" / "rows.sqlite"
    path.write_bytes(b"x" * path.stat().st_size)
    again = Shard(tmp_path / "data", 0, 1)
    again.lock()
    with pytest.raises(DataLossError, match="generation poor"):
        again.load()
    assert again.not_ready_reason()
    again.close()


def test_nothing_answers_before_the_load(tmp_path: Path, rows: Any) -> None:
    shard = Shard(tmp_path, 0, 1)
    assert shard.not_ready_reason()
    with pytest.raises(UnavailableError):
        shard.create("g", rows.spec, "create-g")
    shard.lock()
    shard.load()
    assert shard.not_ready_reason() == ""
    shard.close()


def test_each_item_has_one_shard(rows: Any, tmp_path: Path) -> None:
    shards = [Shard(tmp_path, number, 3) for number in range(3)]

    def accepts(shard: Shard, item_id: str) -> bool:
        try:
            shard.check_placement(item_id, rows.spec, "f")
        except FailedPreconditionError:
            return False
        return True

    homes = [[accepts(shard, f"item-{i}") for shard in shards] for i in range(60)]
    assert all(sum(home) == 1 for home in homes)
    assert all(any(home[number] for home in homes) for number in range(3))


@pytest.mark.parametrize("part", ["rows", "index"])
def test_after_a_failed_write_nothing_more_is_taken(
    shard: Shard, generation: Generation, rows: Any, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    kept = rows.upsert("kept")
    write(generation, rows, kept)

    def fail(*args: object) -> None:
        raise apsw.IOError("disk I/O error")

    with monkeypatch.context() as patch:
        if part == "rows":
            patch.setattr(Applier, "_mutate", fail)
        else:
            patch.setattr(generation, "_update_index", fail)
        with pytest.raises(apsw.IOError):
            write(generation, rows, rows.upsert("lost"))
    with pytest.raises(UnavailableError, match="until the hasher is restarted"):
        generation.submit(rows.change("next", rows.upsert("b"))).result(10)
    assert "generation g1" in shard.not_ready_reason()
    assert generation.position == 2
    assert search(generation, kept.vector, k=1) == [kept.document]


def test_checkpoints_run_during_writes(
    shard: Shard, generation: Generation, rows: Any, tmp_path: Path
) -> None:
    stop = threading.Event()

    def checkpoint() -> None:
        while not stop.is_set():
            shard.checkpoint()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(checkpoint)
        for i in range(60):
            mutation = rows.delete(f"i{i - 3}") if i % 5 == 4 else rows.upsert(f"i{i}", f"p{i % 7}")
            write(generation, rows, mutation)
        stop.set()
        running.result(20)
    kept = generation.page("", 1000, False, 10**6)
    found = sorted(search(generation, rows.vector(5), k=100, group=False))
    again = reopened(shard, tmp_path / "data")
    assert again.generation("g1").page("", 1000, False, 10**6) == kept
    assert sorted(search(again.generation("g1"), rows.vector(5), k=100, group=False)) == found
    again.close()
