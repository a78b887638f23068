"""Shards that are open, changes to their generations, and whether searches find what was written."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

from hasher.generation import Generation
from hasher.log.base import Applied
from hasher.rows.store import RowStore
from hasher.shard import Shard
from tests.hasher.port_search import SearchQuery, search


def opened(folder: Path, number: int = 0, count: int = 1, **options: Any) -> Shard:
    """A shard whose generations are loaded; the caller closes it."""
    shard = Shard(folder, number, count, **options)
    shard.lock()
    shard.load()
    return shard


def submit(generation: Generation, rows: Any, request_id: str, *mutations: Any) -> Future[Applied]:
    return generation.submit(rows.change(request_id, *mutations))


def found(generation: Generation, rows: Any, item_id: str) -> bool:
    query = SearchQuery(rows.vector(item_id)[None, :], 1)
    return [hit.document for hit in search(generation, query).hits[0]] == [rows.document(item_id)]


def row_number(store: RowStore, item_id: str) -> int | None:
    """Returns the number of an item's row; None: there is none."""
    with store._readers.connection() as connection:
        number: int | None = connection.execute(
            "SELECT row_number FROM rows WHERE item_id = ?", (item_id,)
        ).get
        return number
