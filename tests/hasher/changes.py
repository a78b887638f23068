"""Changes to a generation, and whether searches find what they wrote."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from hasher.generation import Generation
from hasher.log.base import Applied
from hasher.rows.records import SearchQuery


def submit(generation: Generation, rows: Any, request_id: str, *mutations: Any) -> Future[Applied]:
    return generation.submit(rows.change(request_id, *mutations))


def found(generation: Generation, rows: Any, item_id: str) -> bool:
    query = SearchQuery(rows.vector(item_id)[None, :], 1)
    return [hit.item for hit in generation.search(query).hits[0]] == [rows.item(item_id)]
