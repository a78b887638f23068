"""What a hasher reports of its writes, its start, its files and its index."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from hasher import index_files
from hasher.log.direct import DirectLog
from hasher.metrics import HasherMetrics
from hasher.progress import LoadProgress
from hasher.shard import Shard
from hasher.state import watch
from lookalike.errors import OverloadedError
from lookalike.runtime.metrics import Metrics

Sample = Callable[..., float | None]


class Watched:
    """Shards over one folder, each with metrics of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shard = self._open()

    def _open(self) -> Shard:
        self._metrics = Metrics()
        own = HasherMetrics(self._metrics)
        shard = Shard(self.folder, 0, 1, open_log=lambda name: DirectLog(3, own), metrics=own)
        watch(shard, self._metrics)
        shard.lock()
        return shard

    def sample(self, name: str, **labels: str) -> float | None:
        return self._metrics.registry.get_sample_value(f"lookalike_hasher_{name}", labels)

    def restart(self, *, clean: bool = True) -> None:
        if not clean:
            for generation in self.shard.generations():
                generation.checkpoint = lambda: None  # type: ignore[method-assign]
        self.shard.close()
        self.shard = self._open()
        self.shard.load()


@pytest.fixture
def watched(tmp_path: Path) -> Any:
    watched = Watched(tmp_path / "data")
    watched.shard.load()
    yield watched
    watched.shard.close()


def write(watched: Watched, rows: Any, *mutations: Any, request_id: str = "r") -> None:
    watched.shard.generation("g").submit(rows.change(request_id, *mutations)).result(20)


def test_stages_of_writes_and_sizes_of_groups(watched: Watched, rows: Any) -> None:
    watched.shard.create("g", rows.spec, "create")
    generation = watched.shard.generation("g")
    with generation.store._write_lock:
        changes = (rows.change(f"r{i}", rows.upsert(f"i{i}-a"), rows.upsert(f"i{i}-b")) for i in range(100))
        futures = []
        with pytest.raises(OverloadedError):
            futures.extend(map(generation.submit, changes))
        assert watched.sample("refused_changes_total") == 1
    wait(futures)
    assert watched.sample("write_seconds_count", stage="queue") == len(futures)
    assert watched.sample("group_changes_sum") == len(futures)
    assert watched.sample("group_mutations_sum") == 2 * len(futures)
    groups = watched.sample("group_changes_count")
    for stage in ("sql", "sync", "index"):
        assert watched.sample("write_seconds_count", stage=stage) == groups
        assert watched.sample("write_seconds_sum", stage=stage) > 0
    # Each commit syncs the log, and the first one its header, too; nothing is copied into the file so soon.
    assert watched.sample("fsync_seconds_count", file="log") == groups + 1
    assert (
        0
        < watched.sample("fsync_seconds_sum", file="log")
        < watched.sample("write_seconds_sum", stage="sync")
    )
    assert watched.sample("fsync_seconds_count", file="rows") == 0
    assert watched.sample("items") == 2 * len(futures)


def test_what_no_saved_index_holds_shows_until_it_is_saved(
    watched: Watched, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.shard.create("g", rows.spec, "create")
    watched.shard.checkpoint()
    assert (watched.sample("unsaved_changes"), watched.sample("unsaved_seconds")) == (0, 0)
    assert watched.sample("checkpoint_seconds_count") == 1
    write(watched, rows, rows.upsert("a"))
    assert watched.sample("unsaved_changes") == 1
    assert watched.sample("unsaved_seconds") > 0

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(index_files.HashIndex, "save", full)
        watched.shard.checkpoint()
    assert watched.sample("checkpoint_failures_total") == 1
    assert watched.sample("unsaved_changes") == 1
    assert watched.sample("disk_full") in (0, 1)
    watched.shard.checkpoint()
    assert (watched.sample("unsaved_changes"), watched.sample("unsaved_seconds")) == (0, 0)
    assert watched.sample("checkpoint_seconds_count") == 3


def test_changes_during_a_checkpoint_are_as_old_as_its_beginning(
    watched: Watched, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.shard.create("g", rows.spec, "create")
    write(watched, rows, rows.upsert("a"))
    save, saving, go_on = index_files.HashIndex.save, threading.Event(), threading.Event()

    def slow(self: Any, folder: Any) -> None:
        saving.set()
        assert go_on.wait(20)
        save(self, folder)

    monkeypatch.setattr(index_files.HashIndex, "save", slow)
    thread = threading.Thread(target=watched.shard.checkpoint)
    thread.start()
    assert saving.wait(20)
    before = watched.sample("unsaved_seconds")
    write(watched, rows, rows.upsert("b"), request_id="later")
    go_on.set()
    thread.join()
    assert watched.sample("unsaved_changes") == 1
    assert 0 < watched.sample("unsaved_seconds") < before + 20


def test_steps_of_a_start(watched: Watched, rows: Any) -> None:
    assert watched.sample("load_progress_ratio") == 1
    watched.shard.create("g", rows.spec, "create")
    write(watched, rows, rows.upsert("a"))
    watched.shard.checkpoint()
    write(watched, rows, rows.upsert("b"), rows.delete("a"), request_id="later")
    watched.restart(clean=False)
    assert watched.sample("load_progress_ratio") == 1
    assert watched.sample("replayed_rows_total") == 2
    for step in ("rows", "open", "replay"):
        assert watched.sample("load_seconds_total", step=step) > 0
    assert watched.sample("load_seconds_total", step="build") == 0
    watched.shard.checkpoint()
    for file in rows.index_files(watched.folder, "g"):
        file.write_bytes(b"damaged")
    watched.restart()
    assert watched.sample("damaged_indexes_total") == 1
    assert watched.sample("load_seconds_total", step="build") > 0
    assert watched.sample("items") == 1


def test_the_share_that_is_loaded_grows_by_the_size_of_files(tmp_path: Path) -> None:
    progress = LoadProgress()
    folders = [tmp_path / name for name in ("a", "b", "other")]
    for folder, size in zip(folders, (1000, 3000, None), strict=True):
        folder.mkdir()
        if size:
            (folder / "rows.sqlite").write_bytes(b"x" * size)
    assert progress.ratio == 0
    assert [progress.ratio for _ in progress.over(folders)] == [0, 0.25, 1]
    assert progress.ratio == 1


def test_files_disk_and_index_show(watched: Watched, rows: Any) -> None:
    watched.shard.create("g", rows.spec, "create")
    write(watched, rows, *(rows.upsert(f"i{n}") for n in range(50)))
    write(watched, rows, *(rows.delete(f"i{n}") for n in range(10)), request_id="later")
    assert (watched.sample("items"), watched.sample("products")) == (40, 40)
    assert watched.sample("wal_bytes") + watched.sample("database_bytes") > 0
    for part in ("code", "vector", "document"):
        assert watched.sample("index_bytes", part=part) > 0
    assert watched.sample("index_rows", state="live") == 40
    assert watched.sample("index_rows", state="dead") >= 0
    assert 0 < watched.sample("disk_free_bytes") <= watched.sample("disk_size_bytes")
    assert (watched.sample("rebuilding_indexes"), watched.sample("failed_rebuilds")) == (0, 0)
    assert watched.sample("generations", state="serving") == 1
    watched.shard.generation("g").fail("for a test")
    assert watched.sample("generations", state="failed") == 1


def test_state_can_be_read_before_the_folder_is_there() -> None:
    metrics = Metrics()
    watch(Shard(Path("nowhere"), 2, 5), metrics)
    samples = {sample.name: sample for family in metrics.registry.collect() for sample in family.samples}
    assert samples["lookalike_hasher_load_progress_ratio"].value == 0
    info = samples["lookalike_hasher_shard_info"]
    assert (info.labels["shard"], info.labels["shard_count"]) == ("2", "5")
    assert info.labels["isa"]
