from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hasher.log.base import Change
from hasher.rows.store import RowStore
from tests.hasher.conftest import TIME_NS


class Writer:
    """Applies changes to a store, each under the next position of lane 0."""

    def __init__(self, folder: Path, rows: Any) -> None:
        self.store = RowStore(folder, "g")
        self._rows = rows
        self._position = self.store.positions[0]

    def __call__(self, *changes: Change, time_ns: int = TIME_NS) -> list[Any]:
        records = self._rows.records(self._position, *changes, time_ns=time_ns)
        results = self.store.apply(records).results
        self._position = records[-1].position
        return results

    def one(self, request_id: str, *mutations: Any, time_ns: int = TIME_NS) -> Any:
        return self(self._rows.change(request_id, *mutations), time_ns=time_ns)[0]


@pytest.fixture
def folder(tmp_path: Path, rows: Any) -> Path:
    RowStore.create(tmp_path, rows.creation(), "g")
    return tmp_path


@pytest.fixture
def write(folder: Path, rows: Any) -> Iterator[Writer]:
    writer = Writer(folder, rows)
    yield writer
    writer.store.close()
