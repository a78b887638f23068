"""What a shard does where its engine, or whoever deletes its files, lets it down."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hasher.generation import Generation
from hasher.index import HashIndex
from hasher.index_files import save_index
from hasher.log.direct import DirectLog
from hasher.rows.apply import Applier
from hasher.shard import Shard
from lookalike.errors import AlreadyExistsError, LookalikeError, UnavailableError
from tests.hasher.generations import found, row_number, submit


class Panic(BaseException):
    """As a panic of the engine arrives in Python: not an ``Exception``."""


# Files that are deleted or replaced


def delete_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def delete_generation(folder: Path) -> None:
    shutil.rmtree(folder / "g1")


def delete_rows(folder: Path) -> None:
    (folder / "g1" / "rows.sqlite").unlink()


def delete_log(folder: Path) -> None:
    (folder / "g1" / "rows.sqlite-wal").unlink()


def delete_lock(folder: Path) -> None:
    (folder / "LOCK").unlink()


def replace_lock(folder: Path) -> None:
    (folder / "LOCK").unlink()
    (folder / "LOCK").touch()


@pytest.mark.parametrize(
    "harm", [delete_folder, delete_generation, delete_rows, delete_log, delete_lock, replace_lock]
)
def test_nothing_is_acknowledged_that_is_not_in_the_folder(
    shard: Shard, generation: Generation, rows: Any, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    submit(generation, rows, "r1", rows.upsert("a")).result(10)
    harm(tmp_path / "data")
    with pytest.raises(UnavailableError, match="deleted or replaced"):
        submit(generation, rows, "r2", rows.upsert("b")).result(10)
    assert "deleted or replaced" in shard.not_ready_reason()
    assert "deleted or replaced" in generation.stats().failure
    # What is in memory can still be searched.
    assert generation.store.item_count


def test_a_deleted_folder_is_noticed_without_a_write_and_does_not_come_back(
    shard: Shard, generation: Generation, rows: Any, tmp_path: Path
) -> None:
    submit(generation, rows, "r1", rows.upsert("a")).result(10)
    shutil.rmtree(tmp_path / "data")
    shard.checkpoint()
    shard.close()
    assert not (tmp_path / "data").exists()


def test_an_index_is_not_saved_into_a_folder_that_is_gone(
    shard: Shard, generation: Generation, rows: Any, tmp_path: Path
) -> None:
    submit(generation, rows, "r1", rows.upsert("a")).result(10)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(FileNotFoundError):
        save_index(generation._index, generation.store, tmp_path / "data" / "g1", 2)
    assert not (tmp_path / "data").exists()


def test_what_a_kill_left_unsynced_in_the_folder_is_synced_at_the_start(
    shard: Shard, rows: Any, tmp_path: Path, synced: list[Path]
) -> None:
    """A creation or deletion that is repeated finds its work done and syncs nothing."""
    shard.create("g", rows.spec, "create-g")
    shard.close()
    again = Shard(tmp_path / "data", 0, 1)
    again.lock()
    synced.clear()
    again.load()
    assert tmp_path / "data" in synced
    again.close()


def test_a_shard_without_generations_notices_that_its_folder_is_gone(shard: Shard, tmp_path: Path) -> None:
    assert shard.not_ready_reason() == ""
    shutil.rmtree(tmp_path / "data")
    assert "deleted or replaced" in shard.not_ready_reason()


# Defects


def test_a_panic_of_the_engine_fails_the_generation_and_nothing_hangs(
    shard: Shard, generation: Generation, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(generation, rows, "r1", rows.upsert("kept")).result(10)
    panic = Panic("index out of bounds")

    def panics(*args: object, **options: object) -> None:
        raise panic

    monkeypatch.setattr(generation, "_update_index", panics)
    with pytest.raises(RuntimeError, match="Panic: index out of bounds") as caught:
        submit(generation, rows, "r2", rows.upsert("lost")).result(10)
    assert caught.value.__cause__ is panic
    with pytest.raises(UnavailableError, match="until the hasher is restarted"):
        submit(generation, rows, "r3", rows.upsert("b")).result(10)
    assert "its index could not follow a write" in shard.not_ready_reason()
    assert found(generation, rows, "kept")
    shard.close()


@pytest.mark.parametrize("error", [TypeError("a defect"), Panic("a defect")])
def test_a_change_that_fails_by_itself_fails_alone(
    shard: Shard, generation: Generation, rows: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    mutate = Applier._mutate

    def fails_for_one(self: Applier, placed: Any) -> Any:
        if any(mutation.item_id == "poison" for _, mutation in placed):
            raise error
        return mutate(self, placed)

    monkeypatch.setattr(Applier, "_mutate", fails_for_one)
    with generation.store._write_lock:
        # Whatever the writer has taken by now waits here, and the rest shares one commit.
        names = ["a", "b", "poison", "c", "d"]
        futures = {name: submit(generation, rows, f"r-{name}", rows.upsert(name)) for name in names}
    with pytest.raises(Exception, match="a defect"):
        futures.pop("poison").result(10)
    for name, future in futures.items():
        assert not future.result(10).outcomes[0].existed
        assert found(generation, rows, name)
    assert shard.not_ready_reason() == ""
    assert row_number(generation.store, "poison") is None


def test_a_full_queue_does_not_keep_a_log_from_closing(rows: Any) -> None:
    applying, release = threading.Event(), threading.Event()

    def apply(records: Any) -> Any:
        applying.set()
        release.wait(10)
        raise Panic

    log = DirectLog(max_pending=3)
    log.follow({}, apply)
    futures = [log.submit(rows.change("r", rows.delete("a")))]
    assert applying.wait(10)
    futures += [log.submit(rows.change(f"r{n}", rows.delete("a"))) for n in range(3)]
    assert log.pending() == 3
    closing = threading.Thread(target=log.close)
    closing.start()
    release.set()
    closing.join(10)
    assert not closing.is_alive()
    assert [type(future.exception(10)) for future in futures] == [RuntimeError] * 4


@pytest.mark.parametrize("error", [Panic("p"), LookalikeError("l"), OSError(5, "o")])
def test_closing_goes_on_where_a_generation_cannot_be_closed_cleanly(
    shard: Shard, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    for name in ("a", "b"):
        shard.create(name, rows.spec, name)
        submit(shard.generation(name), rows, "r", rows.upsert("i")).result(10)
    generations = shard.generations()

    def fails(*args: object) -> None:
        raise error

    monkeypatch.setattr("hasher.generation.save_index", fails)
    shard.checkpoint()
    shard.close()
    for generation in generations:
        with pytest.raises(UnavailableError):
            generation.get(["i"], False)
    Shard(tmp_path / "data", 0, 1).lock()


# Checkpoints, and what comes meanwhile


class SlowSave:
    """Saving an index takes until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started, self.go_on = threading.Event(), threading.Event()
        save = HashIndex.save

        def slow(index: HashIndex, folder: Path) -> None:
            self.started.set()
            assert self.go_on.wait(20)
            save(index, folder)

        monkeypatch.setattr(HashIndex, "save", slow)


@pytest.fixture
def slow_save(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowSave]:
    slow = SlowSave(monkeypatch)
    yield slow
    slow.go_on.set()


def test_collections_come_and_go_while_an_index_is_saved(
    shard: Shard, generation: Generation, rows: Any, tmp_path: Path, slow_save: SlowSave
) -> None:
    submit(generation, rows, "r1", rows.upsert("a")).result(10)
    with ThreadPoolExecutor(2) as pool, capture_logs() as logs:
        saving = pool.submit(shard.checkpoint)
        assert slow_save.started.wait(10)
        assert pool.submit(shard.create, "g2", rows.spec, "create-g2").result(10) == 1
        # Also that whose index is being saved.
        assert pool.submit(shard.drop, "g1").result(10) == 2
        slow_save.go_on.set()
        saving.result(10)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["LOCK", "g2"]
    assert [entry for entry in logs if entry["event"] == "index_not_saved"] == []
    assert [one.name for one in shard.generations()] == ["g2"]


def test_a_creation_that_arrives_after_its_deletion_makes_nothing(
    shard: Shard, rows: Any, tmp_path: Path
) -> None:
    """Calls that were given up are still carried out, in whatever order."""
    assert shard.drop("late") == 0
    with pytest.raises(AlreadyExistsError, match="deleted"):
        shard.create("late", rows.spec, "create-late")
    assert [entry.name for entry in (tmp_path / "data").iterdir()] == ["LOCK"]


def test_a_creation_that_could_not_be_opened_can_be_repeated(
    shard: Shard, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("hasher.generation.load_index", lambda *arguments: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            shard.create("g", rows.spec, "create-g")
    assert [entry.name for entry in (tmp_path / "data").iterdir()] == ["LOCK"]
    assert shard.create("g", rows.spec, "create-g") == 1


# Open files

MANY = """
import resource, sys
from pathlib import Path
from hasher.shard import Shard
from lookalike.collections import Spec
from lookalike.errors import LookalikeError

shard = Shard(Path(sys.argv[1]), 0, 1)
shard.lock()
shard.load()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), hard))
names = [f"g{n}" for n in range(40)]
made = []
for name in names:
    try:
        shard.create(name, Spec("m", 16, 64, 1024), name)
    except LookalikeError as error:
        print(len(made), type(error).__name__, error.message)
        break
    made.append(name)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
shard.create(name, Spec("m", 16, 64, 1024), name)
shard.close()
again = Shard(Path(sys.argv[1]), 0, 1)
again.lock()
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), hard))
try:
    again.load()
    print("loaded")
except LookalikeError as error:
    print(type(error).__name__, error.message)
"""


@pytest.mark.parametrize("limit", range(40, 48))
def test_the_limit_of_open_files_is_named(tmp_path: Path, limit: int) -> None:
    """Whichever file it is that cannot be opened any more."""
    done = subprocess.run(
        [sys.executable, "-c", MANY, tmp_path / "data", str(limit)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    reported = [line for line in done.stdout.splitlines() if "Error" in line]
    assert len(reported) == 2, done.stdout
    assert int(reported[0].split()[0]) > 2
    for line in reported:
        assert "UnavailableError" in line
        assert f"all {limit} files open" in line
