"""Writing the rows and products of one change, many at a time: each statement costs more than a row of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import apsw

from hasher.log.base import Upsert


class RowState(NamedTuple):
    """What a change has to know of a row that it replaces or deletes."""

    number: int
    version: int
    product_number: int


class NewRow(NamedTuple):
    """A row to write, in place of another one or as a new one."""

    upsert: Upsert
    partition: int
    version: int
    replaced: RowState | None


class Stamp(NamedTuple):
    """What the rows of one record have in common."""

    position: int
    revision: int
    time_ns: int


class RowWriter:
    """Writes rows and the products that they belong to, within a transaction of its caller.

    Attributes:
        added_items: How many rows there are more than before.
        added_products: How many products.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.added_items = 0
        self.added_products = 0

    def find(self, item_ids: Sequence[str]) -> dict[str, RowState]:
        """Returns item id → row, for each item that has one."""
        found = self._connection.execute(
            "SELECT item_id, row_number, version, product_number FROM rows"
            " WHERE item_id IN (SELECT value FROM json_each(?))",
            (json.dumps(item_ids),),
        )
        return {item_id: RowState(*row) for item_id, *row in found}

    def write(self, rows: Sequence[NewRow], stamp: Stamp) -> list[tuple[int, int]]:
        """Writes rows, of different items, and returns the row number and product number of each."""
        keys = [_product_key(row.upsert) for row in rows]
        products = self._take(Counter(keys))
        numbers = self._numbers(rows)
        new, replacing = [], []
        for row, key, number in zip(rows, keys, numbers, strict=True):
            values = (products[key], row.version, *stamp, row.upsert.item, row.upsert.vector)
            if row.replaced:
                replacing.append((*values, number))
            else:
                new.append((*values, number, row.upsert.item_id, row.partition))
        self._connection.executemany(
            "INSERT INTO rows (product_number, version, position, revision, update_time_ns, item, vector,"
            " row_number, item_id, partition) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            new,
        )
        self._connection.executemany(
            "UPDATE rows SET product_number = ?, version = ?, position = ?, revision = ?,"
            " update_time_ns = ?, item = ?, vector = ? WHERE row_number = ?",
            replacing,
        )
        self.added_items += len(new)
        self._release(row.replaced.product_number for row in rows if row.replaced)
        return [(number, products[key]) for number, key in zip(numbers, keys, strict=True)]

    def delete(self, rows: Sequence[RowState], revision: int) -> None:
        """Deletes rows, and notes that they are gone."""
        self._connection.executemany("DELETE FROM rows WHERE row_number = ?", ((row.number,) for row in rows))
        self._connection.executemany(
            "INSERT INTO deletions VALUES (?, ?)", ((row.number, revision) for row in rows)
        )
        self._release(row.product_number for row in rows)
        self.added_items -= len(rows)

    def _numbers(self, rows: Sequence[NewRow]) -> list[int]:
        """Returns the numbers of rows: those of new ones were never given to another row."""
        last = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'rows'").get or 0
        numbers = []
        for row in rows:
            last += row.replaced is None
            numbers.append(row.replaced.number if row.replaced else last)
        return numbers

    def _take(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Counts new items of products, which are made where they are missing, and returns key → number."""
        taken = self._connection.executemany(
            "INSERT INTO products (product_key, item_count) VALUES (?1, ?2)"
            " ON CONFLICT (product_key) DO UPDATE SET item_count = item_count + ?2"
            " RETURNING product_key, product_number, item_count",
            counts.items(),
        )
        numbers = {}
        for key, number, item_count in taken:
            numbers[key] = number
            self.added_products += item_count == counts[key]
        return numbers

    def _release(self, product_numbers: Iterable[int]) -> None:
        """Counts items that left their products; a product without items is deleted."""
        left = self._connection.executemany(
            "UPDATE products SET item_count = item_count - ?2 WHERE product_number = ?1"
            " RETURNING product_number, item_count",
            Counter(product_numbers).items(),
        )
        empty = [(number,) for number, item_count in left if not item_count]
        self._connection.executemany("DELETE FROM products WHERE product_number = ?", empty)
        self.added_products -= len(empty)


def _product_key(upsert: Upsert) -> str:
    # The prefix keeps an item without product apart from a product named like it.
    return f"p:{upsert.product_id}" if upsert.product_id else f"i:{upsert.item_id}"
