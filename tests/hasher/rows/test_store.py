from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from hasher.rows import sqlite, store
from hasher.rows.records import Applied, Change, Outcome
from hasher.rows.store import ROWS_FILE, RowStore
from lookalike.errors import (
    DataLossError,
    InvalidInputError,
    Reason,
    UnavailableError,
)
from lookalike.v1 import types_pb2


@pytest.fixture
def folder(tmp_path: Path, rows: Any) -> Path:
    RowStore.create(tmp_path, rows.spec, 0, 1)
    return tmp_path


def test_writes_survive_reopening(folder: Path, rows: Any) -> None:
    first = RowStore(folder, "g")
    first.apply([rows.change("r1", rows.upsert("a", "p"), rows.upsert("b", "p"), rows.upsert("c"))])
    first.apply([rows.change("r2", rows.delete("b"))])
    before = first.page("", 10, True, 10**6)
    first.close()

    again = RowStore(folder, "g")
    assert again.page("", 10, True, 10**6) == before
    assert (again.spec, again.position) == (rows.spec, 3)
    assert (again.item_count, again.product_count) == (2, 2)
    again.close()


def test_commits_are_synced_and_logged_ahead(folder: Path) -> None:
    connection = sqlite.open_writer(folder / ROWS_FILE)
    assert connection.execute("PRAGMA synchronous").get == 2
    assert connection.execute("PRAGMA journal_mode").get == "wal"
    connection.close()


def test_row_numbers_are_never_reused(folder: Path, rows: Any) -> None:
    rowstore = RowStore(folder, "g")
    rowstore.apply([rows.change("r1", rows.upsert("a"))])
    old = rowstore.row_number("a")
    rowstore.apply([rows.change("r2", rows.delete("a"))])
    rowstore.apply([rows.change("r3", rows.upsert("b"))])
    assert old is not None
    assert rowstore.row_number("b") not in (None, old)
    assert rowstore.deletions(1) == [old]
    rowstore.close()


def test_version_grows_over_delete_and_recreate(folder: Path, rows: Any) -> None:
    rowstore = RowStore(folder, "g")
    versions = []
    for i, mutation in enumerate(
        (rows.upsert("a"), rows.upsert("a", "p"), rows.delete("a"), rows.upsert("a"))
    ):
        result = rowstore.apply([rows.change(f"r{i}", mutation)]).results[0]
        assert isinstance(result, Applied)
        versions.append(result.outcomes[0].version)
    assert versions[2] == 0
    assert versions[0] < versions[1] < versions[3]
    rowstore.close()


def test_reused_request_id_is_refused_and_costs_the_group_nothing(folder: Path, rows: Any) -> None:
    rowstore = RowStore(folder, "g")
    first = rows.change("r1", rows.upsert("a"))
    group = rowstore.apply(
        [first, first, rows.change("r1", rows.upsert("b")), rows.change("r2", rows.upsert("c"))]
    )
    assert group.results[0] == group.results[1] == Applied(2, (Outcome(2, existed=False),))
    assert isinstance(group.results[2], InvalidInputError)
    assert group.results[2].reason is Reason.REQUEST_ID_REUSED
    assert group.results[3] == Applied(3, (Outcome(3, existed=False),))
    assert rowstore.row_number("b") is None
    rowstore.close()


def test_first_answer_is_not_given_to_fewer_mutations(folder: Path, rows: Any) -> None:
    rowstore = RowStore(folder, "g")
    two = Change("r1", b"same digest", (rows.upsert("a"), rows.upsert("b")))
    one = Change("r1", b"same digest", (rows.upsert("a"),))
    applied, refused = rowstore.apply([two, one]).results
    assert isinstance(applied, Applied)
    assert isinstance(refused, InvalidInputError)
    rowstore.close()


def test_requests_are_forgotten_after_the_window(
    folder: Path, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "REQUEST_WINDOW", 3)
    rowstore = RowStore(folder, "g")
    change = rows.change("r0", rows.upsert("a"))
    rowstore.apply([change])
    for i in range(1, 3):
        rowstore.apply([rows.change(f"r{i}", rows.upsert("b"))])
    assert rowstore.apply([change]).results == [Applied(2, (Outcome(2, existed=False),))]
    rowstore.apply([rows.change("r3", rows.upsert("b"))])
    assert rowstore.apply([change]).results == [Applied(6, (Outcome(6, existed=True),))]
    rowstore.close()


def test_items_without_product_are_products_of_their_own(folder: Path, rows: Any) -> None:
    rowstore = RowStore(folder, "g")
    rowstore.apply([rows.change("r", rows.upsert("a"), rows.upsert("b"), rows.upsert("c", "a"))])
    assert len(set(rowstore.index_entries(0).product_numbers)) == rowstore.product_count == 3
    rowstore.close()


def test_page_is_in_byte_order_and_bounded_by_bytes(folder: Path, rows: Any) -> None:
    ids = ["b", "a", "é", "Z", "a\x00", "日", "\U0001f600", "\uffff"]
    rowstore = RowStore(folder, "g")
    rowstore.apply([rows.change("r", *(rows.upsert(item_id) for item_id in ids))])
    everything, more = rowstore.page("", 100, True, 10**6)
    assert not more
    got = [types_pb2.Item.FromString(row.item).item_id for row in everything]
    assert got == sorted(ids, key=str.encode)
    assert [row.item for row in rowstore.get(ids, True)] == [rows.item(i) for i in ids]
    assert rowstore.page("", 3, True, 10**6) == (everything[:3], True)
    assert rowstore.page(got[2], 3, True, 10**6) == (everything[3:6], True)
    assert rowstore.page("", 8, True, 10**6) == (everything, False)
    assert rowstore.page("", 100, True, 1) == (everything[:1], True)
    rowstore.close()


def test_index_entries_after_a_position(folder: Path, rows: Any) -> None:
    rowstore = RowStore(folder, "g")
    rowstore.apply([rows.change("r1", rows.upsert("a"), rows.upsert("b"))])
    rowstore.apply([rows.change("r2", rows.upsert("a", seed=7))])
    entries = rowstore.index_entries(2)
    assert entries.row_numbers == [rowstore.row_number("a")]
    assert entries.items == [rows.item("a", seed=7)]
    np.testing.assert_array_equal(entries.vectors[0], rows.vector(7))
    assert len(rowstore.index_entries(0).row_numbers) == 2
    rowstore.close()


def test_full_disk_applies_nothing_and_recovers(folder: Path, rows: Any) -> None:
    rowstore = RowStore(folder, "g")
    rowstore.apply([rows.change("r0", rows.upsert("a"))])
    pages = rowstore._writer.execute("PRAGMA page_count").get
    rowstore._writer.execute(f"PRAGMA max_page_count = {pages}")
    big = rows.change("r1", *(rows.upsert(f"x{i}") for i in range(500)))
    with pytest.raises(UnavailableError, match="disk"):
        rowstore.apply([big])
    assert (rowstore.position, rowstore.item_count) == (2, 1)
    assert rowstore.row_number("x0") is None
    rowstore._writer.execute("PRAGMA max_page_count = 100000")
    assert rowstore.apply([big]).position == 3
    assert rowstore.item_count == 501
    rowstore.close()


@pytest.mark.parametrize("damage", ["header", "empty", "missing", "no database", "meta", "vector"])
def test_damaged_file_is_data_loss(folder: Path, rows: Any, damage: str) -> None:
    rowstore = RowStore(folder, "broken-generation")
    rowstore.apply([rows.change("r1", rows.upsert("a"))])
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
