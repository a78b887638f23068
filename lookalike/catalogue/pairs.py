"""Labelled queries: photos or stored items with the product that they show.

A CSV file with the column ``product_id`` and one or both of ``image_path``, relative to the folder of the
CSV, and ``item_id``, of which each row fills one. An empty ``product_id`` says that the product is not in the
collection.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lookalike.catalogue.rows import CatalogRows

_PRODUCT, _PHOTO, _ITEM = "product_id", "image_path", "item_id"


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """One row.

    Attributes:
        product_id: The product shown; empty: it is not in the collection.
        image_path: The photo to search for, resolved against the folder of the CSV; None for a stored item.
        item_id: The stored item to search for; empty for a photo.
    """

    product_id: str
    image_path: Path | None = None
    item_id: str = ""


def read_pairs(path: str | os.PathLike[str]) -> list[LabelledQuery]:
    """Reads and checks labelled queries.

    Raises:
        InvalidInputError: The file cannot be read, or a row is wrong; the message names file and line
            (``CATALOG_INVALID``).
    """
    rows = CatalogRows(Path(path), (_PRODUCT,))
    found = []
    for row in rows:
        if not {_PHOTO, _ITEM} & row.keys():
            raise rows.problem(
                f"missing column {_PHOTO} or {_ITEM}: what is searched for", line=1, column=_PHOTO
            )
        photo, item_id = row.get(_PHOTO, ""), row.get(_ITEM, "")
        if bool(photo) == bool(item_id):
            raise rows.problem(f"fill {_PHOTO} or {_ITEM}, and not both", column=_PHOTO)
        image_path = rows.path.parent / photo if photo else None
        if image_path and not image_path.is_file():
            raise rows.problem(f"there is no photo {photo}", column=_PHOTO)
        found.append(LabelledQuery(row[_PRODUCT], image_path, item_id))
    if not found:
        raise rows.problem("there are no rows below the header", line=1)
    return found
