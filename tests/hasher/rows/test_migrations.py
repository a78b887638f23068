"""Row files of the first schema, as commit 8ec0972 wrote them, and of schemas to come."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from hasher.attributes import ItemAttributes
from hasher.documents import document_of
from hasher.log.base import Applied, Change, Outcome, Upsert
from hasher.log.direct import DirectLog
from hasher.rows import migrations
from hasher.rows.schema import SCHEMA_VERSION
from hasher.rows.store import ROWS_FILE, RowStore
from hasher.shard import Shard
from lookalike.collections import Rerank, Spec
from lookalike.errors import FailedPreconditionError, Reason
from lookalike.placement import partition_of
from lookalike.v1 import types_pb2
from tests.hasher.generations import opened
from tests.hasher.port_search import SearchQuery, search

ROOT = Path(__file__).parents[3]
FIXTURE = Path(__file__).parents[1] / "fixtures" / "schema1" / "hashers.tar.gz"
SPEC = Spec("model-of-schema-1", 8, 64, 32, Rerank.F32)
GENERATION = "shop.1"
# What the writes of fixtures/schema1/make.py come to, over both shards.
PRESENT = {f"i{n}": 1 if n < 10 else 0 for n in range(50) if n not in range(20, 24)}


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Data folders of two shards: one stopped cleanly, one killed after its index was saved."""
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path, filter="data")
    return [tmp_path / f"hasher-{shard}" for shard in (0, 1)]


def load(folder: Path, number: int) -> Shard:
    return opened(folder, number, 2)


def vector_of(item_id: str, state: int) -> Any:
    vector = np.random.default_rng([state, *item_id.encode()]).standard_normal(8).astype(np.float32)
    return vector / np.linalg.norm(vector)


def contents(store: RowStore) -> list[Any]:
    return list(store._writer.execute("SELECT * FROM rows ORDER BY row_number"))


def test_a_folder_of_the_first_schema_answers_with_what_was_written(folders: list[Path]) -> None:
    found: dict[str, int] = {}
    for number, folder in enumerate(folders):
        shard = load(folder, number)
        assert [generation.name for generation in shard.generations()] == ["empty.1", GENERATION]
        generation = shard.generation(GENERATION)
        assert (generation.spec, generation.position) == (SPEC, 6)
        for row in generation.page("", 1000, True, 10**6)[0]:
            item = types_pb2.Item.FromString(row.item)
            if item.title != "known":
                found[item.item_id] = int(item.title.removeprefix("state "))
            state = found.get(item.item_id, 0)
            query = SearchQuery(vector_of(item.item_id, state)[None, :], 1, exact=True, group=False)
            hit = search(generation, query).hits[0][0]
            assert (hit.document, hit.score) == (document_of(item), pytest.approx(1, abs=1e-5))
        shard.close()
    assert found == PRESENT


def test_what_the_index_lacked_is_replayed_not_rebuilt(folders: list[Path]) -> None:
    (kept,) = (folders[1] / GENERATION).glob("index-*")
    assert kept.name == "index-4"
    store = RowStore(folders[1] / GENERATION, GENERATION)
    assert (store.index_revision, store.revision) == (4, 6)
    assert len(store.deletions(4)) == 3
    assert len(store.index_entries(4).row_numbers) > 0
    store.close()


@pytest.mark.parametrize("number", [0, 1])
def test_request_ids_of_the_first_schema_are_known(folders: list[Path], number: int) -> None:
    shard = load(folders[number], number)
    generation = shard.generation(GENERATION)
    known = [one for one in generation.page("", 1000, False, 10**6)[0] if b"known" in one.item]
    items = [types_pb2.Item.FromString(row.item) for row in known]
    upserts = [
        Upsert(item.item_id, "", b"changed", vector_of(item.item_id, 0), ItemAttributes((), {}), b"")
        for item in items
    ]
    request_id = f"known-request-{number}"
    again = generation.submit(Change(request_id, b"d" * 32, tuple(upserts))).result(10)
    assert again == Applied(4, (Outcome(4, existed=False),) * 3)
    for change in (
        Change(request_id, b"e" * 32, tuple(upserts)),
        Change(request_id, b"d" * 32, tuple(upserts[:2])),
    ):
        with pytest.raises(Exception, match="already used with other content"):
            generation.submit(change).result(10)
    assert [one for one in generation.page("", 1000, False, 10**6)[0] if b"known" in one.item] == known
    shard.close()


def test_a_migrated_shard_joins_whoever_knows_one_of_its_generations(folders: list[Path]) -> None:
    shard = load(folders[0], 0)
    assert shard.identity.installation_id == ""
    # Another's first collection does not take the shard away from those who have data on it.
    with pytest.raises(FailedPreconditionError, match="generations of an earlier version") as caught:
        shard.join("another", "another-1")
    assert caught.value.reason is Reason.INSTALLATION_MISMATCH
    assert shard.identity.installation_id == ""
    shard.join("home", GENERATION)
    # Which request made it was not kept: the first one is taken for it.
    assert shard.create(GENERATION, SPEC, "create/shop.1") == 6
    shard.close()
    again = load(folders[0], 0)
    assert again.identity.installation_id == "home"
    assert [one.store.installation_id for one in again.generations()] == ["home", "home"]
    with pytest.raises(Exception, match="made by another request"):
        again.create(GENERATION, SPEC, "of another directory")
    again.close()


def test_migrated_tables_are_those_of_a_new_file(folders: list[Path], tmp_path: Path, rows: Any) -> None:
    def tables(store: RowStore) -> dict[str, str]:
        return {
            name: sql.replace('"', "")
            for name, sql in store._writer.execute("SELECT name, coalesce(sql, '') FROM sqlite_schema")
        }

    def keys(store: RowStore) -> set[str]:
        return {key for (key,) in store._writer.execute("SELECT key FROM meta")}

    migrated = RowStore(folders[0] / GENERATION, GENERATION)
    (tmp_path / "new").mkdir()
    RowStore.create(tmp_path / "new", rows.creation(spec=SPEC), "new")
    new = RowStore(tmp_path / "new", "new")
    assert tables(migrated) == tables(new)
    assert keys(migrated) == keys(new)
    assert migrated.log_id == DirectLog.log_id
    assert list(migrated._writer.execute("PRAGMA foreign_key_check")) == []
    assert migrated._writer.execute("PRAGMA integrity_check").get == "ok"
    migrated.close()
    new.close()


def test_numbers_of_deleted_rows_are_not_given_again(folders: list[Path]) -> None:
    path = folders[0] / GENERATION / ROWS_FILE
    before = apsw.Connection(str(path))
    last = before.execute("SELECT max(row_number) FROM rows").get
    before.execute("DELETE FROM rows WHERE row_number = ?", (last,))
    before.close()
    store = RowStore(path.parent, GENERATION)
    sequence = dict(store._writer.execute("SELECT name, seq FROM sqlite_sequence"))
    assert sequence["rows"] == last
    assert set(sequence) == {"rows", "products"}
    store.close()


def test_partitions_are_those_of_the_items(folders: list[Path]) -> None:
    store = RowStore(folders[1] / GENERATION, GENERATION)
    rows = list(store._writer.execute("SELECT item_id, partition, position FROM rows"))
    assert all(partition == partition_of(item_id, 32) for item_id, partition, _ in rows)
    last = {partition: max(p for _, other, p in rows if other == partition) for _, partition, _ in rows}
    assert dict(store._writer.execute("SELECT partition, position FROM partitions")) == last
    store.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from hasher.rows import migrations
from hasher.rows.store import RowStore
from tests.hasher.port_search import SearchQuery, search

step = getattr(migrations, sys.argv[2])

def killed(*arguments):
    step(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(migrations, sys.argv[2], killed)
RowStore(Path(sys.argv[1]), "g")
"""


@pytest.mark.parametrize("step", ["_copy_rows", "_copy_requests", "_describe"])
def test_a_migration_that_is_killed_leaves_the_first_schema(folders: list[Path], step: str) -> None:
    folder = folders[1] / GENERATION
    shutil.copytree(folder, folder.with_name("untouched"))
    killed = subprocess.run([sys.executable, "-c", KILLED, folder, step], check=False, cwd=ROOT)
    assert killed.returncode == -9
    connection = apsw.Connection(str(folder / ROWS_FILE))
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").get == 1
    connection.close()
    store, untouched = RowStore(folder, "g"), RowStore(folder.with_name("untouched"), "g")
    assert contents(store) == contents(untouched)
    assert store.positions == untouched.positions == {0: 6}
    store.close()
    untouched.close()


def test_a_full_disk_leaves_the_first_schema(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    copy = migrations._copy_requests

    def full(connection: apsw.Connection) -> None:
        copy(connection)
        raise apsw.FullError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "_copy_requests", full)
        with pytest.raises(Exception, match="disk of the shard is full") as caught:
            RowStore(folders[0] / GENERATION, GENERATION)
        assert caught.value.reason is Reason.DISK_FULL
    store = RowStore(folders[0] / GENERATION, GENERATION)
    assert store.positions == {0: 6}
    store.close()


def test_a_newer_schema_is_refused_by_name_and_left_alone(tmp_path: Path, rows: Any) -> None:
    RowStore.create(tmp_path, rows.creation(), "g")
    path = tmp_path / ROWS_FILE
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (SCHEMA_VERSION + 1,))
    connection.close()
    before = path.read_bytes()
    with pytest.raises(FailedPreconditionError) as caught:
        RowStore(tmp_path, "g")
    assert caught.value.message == (
        "the row file of generation g was written by a newer version of Lookalike (schema 3; this one reads"
        " up to 2): it is unharmed, start that version again"
    )
    assert path.read_bytes() == before
