from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from hasher.rows import sqlite
from hasher.rows.store import ROWS_FILE, RowStore
from lookalike.errors import DataLossError, Reason, UnavailableError
from lookalike.placement import partition_of
from lookalike.v1 import types_pb2
from tests.hasher.conftest import TIME_NS
from tests.hasher.generations import row_number
from tests.hasher.rows.conftest import Writer


def test_writes_survive_reopening(folder: Path, rows: Any) -> None:
    first = Writer(folder, rows)
    first.one("r1", rows.upsert("a", "p"), rows.upsert("b", "p"), rows.upsert("c"))
    first.one("r2", rows.delete("b"))
    before = first.store.page("", 10, True, 10**6)
    first.store.close()

    again = RowStore(folder, "g")
    assert again.page("", 10, True, 10**6) == before
    assert (again.spec, again.positions, again.revision) == (rows.spec, {0: 3}, 3)
    assert (again.item_count, again.product_count) == (2, 2)
    assert (again.installation_id, again.creation_request_id, again.log_id) == ("home", "create", "direct")
    again.close()


def test_commits_are_synced_and_logged_ahead(folder: Path) -> None:
    connection = sqlite.open_writer(folder / ROWS_FILE)
    assert connection.execute("PRAGMA synchronous").get == 2
    assert connection.execute("PRAGMA journal_mode").get == "wal"
    connection.close()


def test_row_numbers_are_never_reused(write: Writer, rows: Any) -> None:
    write.one("r1", rows.upsert("a"))
    old = row_number(write.store, "a")
    write.one("r2", rows.delete("a"))
    write.one("r3", rows.upsert("b"))
    assert old is not None
    assert row_number(write.store, "b") not in (None, old)
    assert write.store.deletions(1) == [old]


def test_version_grows_over_delete_and_recreate(write: Writer, rows: Any) -> None:
    mutations = (rows.upsert("a"), rows.upsert("a", "p"), rows.delete("a"), rows.upsert("a"))
    versions = [write.one(f"r{i}", mutation).outcomes[0].version for i, mutation in enumerate(mutations)]
    assert versions == [2, 3, 0, 5]


def test_version_of_a_row_with_a_longer_past_grows(write: Writer, rows: Any) -> None:
    write.one("r1", rows.upsert("a"))
    write.store._writer.execute("UPDATE rows SET version = 900")
    assert write.one("r2", rows.upsert("a")).outcomes[0].version == 901


def test_a_position_is_applied_once(write: Writer, rows: Any) -> None:
    records = rows.records(1, rows.change("r1", rows.upsert("a")))
    write.store.apply(records)
    with pytest.raises(ValueError, match="position 2 of lane 0 was applied before"):
        write.store.apply(records)
    assert write.store.positions == {0: 2}


def test_time_of_a_row_is_that_of_the_log_and_never_goes_back(write: Writer, rows: Any) -> None:
    write.one("r1", rows.upsert("a"), time_ns=TIME_NS)
    write.one("r2", rows.upsert("b"), time_ns=TIME_NS - 5)
    assert [row.update_time_ns for row in write.store.get(["a", "b"], False)] == [TIME_NS, TIME_NS]


def test_partitions_know_their_last_record(write: Writer, rows: Any) -> None:
    write.one("r1", *(rows.upsert(f"i{n}") for n in range(40)))
    write.one("r2", rows.delete("i7"))
    known = dict(write.store._writer.execute("SELECT partition, position FROM partitions"))
    assert known.keys() == {partition_of(f"i{n}", 1024) for n in range(40)}
    assert known.pop(partition_of("i7", 1024)) == 3
    assert set(known.values()) == {2}
    kept = dict(write.store._writer.execute("SELECT item_id, partition FROM rows"))
    assert kept == {f"i{n}": partition_of(f"i{n}", 1024) for n in range(40) if n != 7}


def test_items_without_product_are_products_of_their_own(write: Writer, rows: Any) -> None:
    write.one("r", rows.upsert("a"), rows.upsert("b"), rows.upsert("c", "a"))
    assert len(set(write.store.index_entries(0).product_numbers)) == write.store.product_count == 3


def test_page_is_in_byte_order_and_bounded_by_bytes(write: Writer, rows: Any) -> None:
    ids = ["b", "a", "é", "Z", "a\x00", "日", "\U0001f600", "\uffff"]
    rowstore = write.store
    write.one("r", *(rows.upsert(item_id) for item_id in ids))
    everything, more = rowstore.page("", 100, True, 10**6)
    assert not more
    got = [types_pb2.Item.FromString(row.item).item_id for row in everything]
    assert got == sorted(ids, key=str.encode)
    assert [row.item for row in rowstore.get(ids, True)] == [rows.item(i) for i in ids]
    assert rowstore.page("", 3, True, 10**6) == (everything[:3], True)
    assert rowstore.page(got[2], 3, True, 10**6) == (everything[3:6], True)
    assert rowstore.page("", 8, True, 10**6) == (everything, False)
    assert rowstore.page("", 100, True, 1) == (everything[:1], True)


def test_index_entries_after_a_revision(write: Writer, rows: Any) -> None:
    write.one("r1", rows.upsert("a"), rows.upsert("b"))
    write.one("r2", rows.upsert("a", seed=7))
    entries = write.store.index_entries(2)
    assert entries.row_numbers == [row_number(write.store, "a")]
    assert entries.documents == [rows.document("a", seed=7)]
    np.testing.assert_array_equal(entries.vectors[0], rows.vector(7))
    assert len(write.store.index_entries(0).row_numbers) == 2


def test_a_start_reads_only_the_rows_that_the_index_lacks(write: Writer, rows: Any) -> None:
    write.one("r1", rows.upsert("a"))
    asked: list[str] = []

    def note(_: apsw.Cursor, query: str, __: object) -> bool:
        asked.append(query)
        return True

    with write.store._readers.connection() as connection:
        connection.exec_trace = note
    write.store.index_entries(2)
    connection.exec_trace = None
    queries = [query for query in asked if query.startswith("SELECT")]
    assert len(queries) == 2
    for query in queries:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", {"after": 2})
        assert all("USING" in step and "rows_by_revision" in step for *_, step in plan)


def test_full_disk_applies_nothing_and_recovers(write: Writer, rows: Any) -> None:
    write.one("r0", rows.upsert("a"))
    rowstore = write.store
    pages = rowstore._writer.execute("PRAGMA page_count").get
    rowstore._writer.execute(f"PRAGMA max_page_count = {pages}")
    big = rows.change("r1", *(rows.upsert(f"x{i}") for i in range(500)))
    with pytest.raises(UnavailableError, match="disk of the shard is full") as caught:
        write(big)
    assert caught.value.reason is Reason.DISK_FULL
    assert (rowstore.positions, rowstore.revision, rowstore.item_count) == ({0: 2}, 2, 1)
    assert row_number(rowstore, "x0") is None
    rowstore._writer.execute("PRAGMA max_page_count = 100000")
    assert write(big)[0].position == 3
    assert rowstore.item_count == 501


@pytest.mark.parametrize("damage", ["header", "empty", "missing", "no database", "meta", "vector"])
def test_damaged_file_is_data_loss(folder: Path, rows: Any, damage: str) -> None:
    rowstore = RowStore(folder, "broken-generation")
    rowstore.apply(rows.records(1, rows.change("r1", rows.upsert("a"))))
    rowstore.close()
    path = folder / ROWS_FILE
    data = path.read_bytes()
    if damage == "header":
        path.write_bytes(b"\xff" * 200 + data[200:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "missing":
        path.unlink()
    elif damage == "no database":
        path.write_bytes(b"item_id,title\n" * 500)
    else:
        connection = apsw.Connection(str(path))
        connection.execute(
            "DELETE FROM meta WHERE key = 'spec'" if damage == "meta" else "UPDATE rows SET vector = x'00'"
        )
        connection.close()

    def read_all() -> None:
        opened = RowStore(folder, "broken-generation")
        try:
            opened.index_entries(0)
        finally:
            opened.close()

    with pytest.raises(DataLossError, match="generation broken-generation") as caught:
        read_all()
    assert str(folder) not in caught.value.message
