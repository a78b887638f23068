"""The derived index: saved, replayed, and rebuilt where it is damaged; never trusted over the rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hasher.generation import Generation
from hasher.index import HashIndex
from hasher.shard import Shard
from tests.hasher.port_search import SearchQuery, search


def load(folder: Path) -> tuple[Shard, list[Any]]:
    shard = Shard(folder, 0, 1)
    shard.lock()
    with capture_logs() as logs:
        shard.load()
    return shard, [entry for entry in logs if entry["event"] == "index_rebuilt"]


def answers(generation: Generation, rows: Any) -> Any:
    query = rows.vector(77)[None, :]
    return [
        search(generation, SearchQuery(query, 40, group=group, exact=exact)).hits
        for group in (False, True)
        for exact in (False, True)
    ]


def search_one(generation: Generation, rows: Any) -> list[Any]:
    return search(generation, SearchQuery(rows.vector(77)[None, :], 40)).hits[0]


def fill(generation: Generation, rows: Any, first: int, count: int) -> None:
    mutations = [rows.upsert(f"i{n}", f"p{n % 11}") for n in range(first, first + count)]
    generation.submit(rows.change(f"fill-{first}", *mutations)).result(20)


def flip_a_byte(files: list[Path]) -> None:
    largest = max(files, key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)


def cut_the_end(files: list[Path]) -> None:
    for path in files:
        path.write_bytes(path.read_bytes()[:-5])


def empty(files: list[Path]) -> None:
    for path in files:
        path.write_bytes(b"")


def foreign(files: list[Path]) -> None:
    for path in files:
        path.write_bytes(b"\x7fELF" + bytes(4096))


def delete(files: list[Path]) -> None:
    shutil.rmtree(files[0].parent)


@pytest.mark.parametrize("damage", [flip_a_byte, cut_the_end, empty, foreign, delete])
def test_damaged_index_is_rebuilt_with_a_warning(
    shard: Shard, generation: Generation, rows: Any, tmp_path: Path, damage: Callable[[list[Path]], None]
) -> None:
    fill(generation, rows, 0, 300)
    expected = answers(generation, rows)
    shard.close()
    damage(rows.index_files(tmp_path / "data", "g1"))

    again, rebuilt = load(tmp_path / "data")
    assert [(entry["generation"], entry["log_level"]) for entry in rebuilt] == [("g1", "warning")]
    assert rebuilt[0]["reason"]
    assert answers(again.generation("g1"), rows) == expected
    again.close()

    once_more, rebuilt = load(tmp_path / "data")
    assert rebuilt == []
    once_more.close()


def test_sound_index_is_opened_not_rebuilt(
    shard: Shard, generation: Generation, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(generation, rows, 0, 300)
    expected = answers(generation, rows)
    shard.close()
    monkeypatch.delattr(HashIndex, "build")
    again, rebuilt = load(tmp_path / "data")
    assert rebuilt == []
    assert answers(again.generation("g1"), rows) == expected
    again.close()


def test_changes_after_the_checkpoint_are_replayed(
    shard: Shard, generation: Generation, rows: Any, tmp_path: Path
) -> None:
    fill(generation, rows, 0, 100)
    shard.checkpoint()
    fill(generation, rows, 50, 100)
    gone = [rows.delete(f"i{n}") for n in range(40, 60)]
    moved = [rows.upsert(f"i{n}", "other", seed=n) for n in range(10)]
    generation.submit(rows.change("later", *gone, *moved)).result(20)
    back = [rows.upsert("i45", "p45")]
    generation.submit(rows.change("back", *back)).result(20)
    expected = answers(generation, rows)
    generation.close(save=False)  # as a crash leaves it
    shard._generations.clear()
    shard.close()

    again, rebuilt = load(tmp_path / "data")
    assert rebuilt == []
    assert answers(again.generation("g1"), rows) == expected
    again.close()


def test_many_unsaved_rows_are_saved_before_the_interval_is_over(
    shard: Shard, generation: Generation, rows: Any, tmp_path: Path
) -> None:
    def wanted() -> bool:
        return generation.wants_checkpoint(300)

    fill(generation, rows, 0, 1000)
    assert not wanted()
    fill(generation, rows, 1000, 1000)
    assert wanted()
    shard.checkpoint(300)
    assert generation.unsaved_changes == 0
    assert not wanted()
    generation.submit(rows.change("gone", *(rows.delete(f"i{n}") for n in range(1000)))).result(20)
    assert not wanted()
    fill(generation, rows, 1, 10)
    assert wanted()  # 1,010 rows of an index of 1,010
    generation.close(save=False)  # as a crash leaves it
    shard._generations.clear()
    shard.close()

    again, rebuilt = load(tmp_path / "data")
    assert rebuilt == []
    assert again.generation("g1").wants_checkpoint(300)
    again.checkpoint(300)
    assert not again.generation("g1").wants_checkpoint(300)
    again.close()


def test_failed_checkpoint_waits_for_the_interval(
    shard: Shard, generation: Generation, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(generation, rows, 0, 1500)

    def broken(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(HashIndex, "save", broken)
        shard.checkpoint(300)
    assert generation.unsaved_changes
    assert not generation.wants_checkpoint(300)
    assert generation.wants_checkpoint(0)
    shard.checkpoint()
    assert generation.unsaved_changes == 0


def test_index_that_misses_rows_is_rebuilt(
    shard: Shard, generation: Generation, rows: Any, tmp_path: Path
) -> None:
    fill(generation, rows, 0, 50)
    shard.checkpoint()
    (saved,) = rows.index_folders(tmp_path / "data", "g1")
    copy = tmp_path / "old-index"
    shutil.copytree(saved, copy)
    fill(generation, rows, 50, 50)
    expected = answers(generation, rows)
    shard.close()
    (present,) = rows.index_folders(tmp_path / "data", "g1")
    shutil.rmtree(present)
    copy.rename(present)

    again, rebuilt = load(tmp_path / "data")
    assert len(rebuilt) == 1
    assert "50 items" in rebuilt[0]["reason"]
    assert answers(again.generation("g1"), rows) == expected
    again.close()


def test_an_index_without_documents_is_rebuilt_from_its_rows(
    shard: Shard, generation: Generation, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As commit 80c659f saved them, in the form of today."""
    add = HashIndex.add

    def without(index: HashIndex, *columns: Any, documents: Any, **others: Any) -> None:
        add(index, *columns, **others)

    with monkeypatch.context() as patch:
        patch.setattr(HashIndex, "add", without)
        fill(generation, rows, 0, 100)
    shard.checkpoint()
    fill(generation, rows, 100, 10)
    generation.close(save=False)
    shard._generations.clear()
    shard.close()

    again, rebuilt = load(tmp_path / "data")
    assert ["no documents" in entry["reason"] for entry in rebuilt] == [True]
    found = {hit.document for hits in answers(again.generation("g1"), rows)[0] for hit in hits}
    assert len(found) == 40
    assert found < {rows.document(f"i{n}", f"p{n % 11}") for n in range(110)}
    again.close()
    once_more, rebuilt = load(tmp_path / "data")
    assert rebuilt == []
    once_more.close()


def test_an_empty_index_has_no_documents_and_is_opened(
    shard: Shard, generation: Generation, rows: Any, tmp_path: Path
) -> None:
    fill(generation, rows, 0, 3)
    generation.submit(rows.change("gone", *(rows.delete(f"i{n}") for n in range(3)))).result(20)
    shard.close()
    again, rebuilt = load(tmp_path / "data")
    assert rebuilt == []
    assert search_one(again.generation("g1"), rows) == []
    again.close()


def test_only_the_newest_index_is_kept(
    shard: Shard, generation: Generation, rows: Any, tmp_path: Path
) -> None:
    for i in range(3):
        fill(generation, rows, i * 10, 10)
        shard.checkpoint()
        (folder,) = rows.index_folders(tmp_path / "data", "g1")
        assert folder.name == f"index-{generation.position}"
    before = [path.stat().st_mtime_ns for path in rows.index_files(tmp_path / "data", "g1")]
    shard.checkpoint()
    assert [path.stat().st_mtime_ns for path in rows.index_files(tmp_path / "data", "g1")] == before
