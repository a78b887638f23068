"""Filtered searches follow the rows: through writes, restarts and rebuilds of the index."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import apsw
import pytest

from hasher.attributes import attributes_of
from hasher.documents import document_of
from hasher.index_files import INDEX_PREFIX
from hasher.log.base import Upsert
from hasher.shard import Shard
from lookalike.errors import DataLossError
from lookalike.filters import Equals, Filter, InCategory, Range
from lookalike.v1 import types_pb2
from tests.hasher import oracle
from tests.hasher.generations import opened
from tests.hasher.port_search import SearchQuery, item_id_of, search

FILTERS = (
    Filter(all=(Equals("colour", "red"),)),
    Filter(none=(Equals("colour", "red"),)),
    Filter(all=(InCategory(("Home",)), Range("price", 5, 9))),
    Filter(any=(InCategory(("Home", "Mugs")), Equals("colour", "blue"))),
    Filter(all=(Equals("colour", "mauve"),)),
)


def item(number: int, version: int) -> types_pb2.Item:
    """An item that differs in each version of it."""
    choice = (number * 7 + version * 3) % 12
    path = [["Home"], ["Home", "Mugs"], ["Toys"], []][choice % 4]
    attributes = {"price": str(choice)} | ({"colour": ["red", "blue"][choice % 2]} if choice % 3 else {})
    return types_pb2.Item(
        item_id=f"i{number}", category=types_pb2.CategoryPath(names=path), attributes=attributes
    )


class Catalogue:
    """The items that a generation should hold."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self._requests = 0
        self.items: dict[str, types_pb2.Item] = {}

    def write(self, shard: Shard, *mutations: Any) -> None:
        self._requests += 1
        shard.generation("g1").submit(self._rows.change(f"r{self._requests}", *mutations)).result(10)

    def upsert(self, shard: Shard, numbers: range, version: int) -> None:
        items = [item(number, version) for number in numbers]
        self.items |= {item.item_id: item for item in items}
        vectors = {item.item_id: self._rows.vector(f"{item.item_id}-{version}") for item in items}
        self.write(
            shard,
            *(
                Upsert(
                    i.item_id, "", i.SerializeToString(), vectors[i.item_id], attributes_of(i), document_of(i)
                )
                for i in items
            ),
        )

    def delete(self, shard: Shard, numbers: range) -> None:
        for number in numbers:
            self.items.pop(f"i{number}", None)
        self.write(shard, *(self._rows.delete(f"i{number}") for number in numbers))

    def check(self, shard: Shard) -> None:
        for filter in FILTERS:
            passing = {
                item_id
                for item_id, item in self.items.items()
                if oracle.passes(filter, item.category.names, item.attributes)
            }
            for exact in (False, True):
                query = SearchQuery(self._rows.vector(1)[None, :], 1000, exact=exact, filter=filter)
                (hits,) = search(shard.generation("g1"), query).hits
                found = [item_id_of(hit.document) for hit in hits]
                assert len(found) == len(set(found))
                assert set(found) == passing, (filter, exact)


def test_filters_follow_writes_restarts_and_rebuilds(rows: Any, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shard = opened(folder)
    shard.create("g1", rows.spec, "create")
    catalogue = Catalogue(rows)
    catalogue.upsert(shard, range(120), 0)
    catalogue.upsert(shard, range(40, 80), 1)
    catalogue.delete(shard, range(70, 90))
    catalogue.check(shard)

    shard.checkpoint()
    catalogue.upsert(shard, range(60, 140), 2)
    catalogue.delete(shard, range(10))
    # What a crash leaves: the saved index lacks the last changes.
    shutil.copytree(folder, tmp_path / "crashed")
    shard.close()
    folder = tmp_path / "crashed"
    shard = opened(folder)
    catalogue.check(shard)

    catalogue.upsert(shard, range(5, 15), 3)
    shard.close()
    for saved in (folder / "g1").glob(f"{INDEX_PREFIX}*"):
        shutil.rmtree(saved)
    shard = opened(folder)
    catalogue.check(shard)
    shard.close()


def test_an_item_that_cannot_be_decoded_is_data_loss(rows: Any, tmp_path: Path) -> None:
    shard = opened(tmp_path / "data")
    shard.create("g1", rows.spec, "create")
    Catalogue(rows).upsert(shard, range(3), 0)
    shard.close()
    folder = tmp_path / "data" / "g1"
    for saved in folder.glob(f"{INDEX_PREFIX}*"):
        shutil.rmtree(saved)
    connection = apsw.Connection(str(folder / "rows.sqlite"))
    connection.execute("UPDATE rows SET item = x'ff' WHERE item_id = 'i1'")
    connection.close()
    again = Shard(tmp_path / "data", 0, 1)
    again.lock()
    with pytest.raises(DataLossError, match=r"generation g1.*item"):
        again.load()
    again.close()
