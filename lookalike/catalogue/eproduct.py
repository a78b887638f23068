"""The layout and the files of the eProduct challenge (Yuan et al., arXiv 2107.05856).

A folder holds ``Images/`` and ``metadata/{train,val,index,query...}.csv`` with the columns ``UUID`` (16
letters or digits), ``IMAGE_PATH`` (relative to ``Images/``), ``AUCT_TITL``, ``META_CATEG_ID``,
``CATEG_LVL2_ID`` and ``LEAF_CATEG_ID``; the files of index and queries have the first two alone. Answers
are handed in as a file of one line per query: its UUID, a comma, and ten UUIDs of the index.

Which listings show one product is not part of the files: every listing is its own product, so models
train on categories, and a query's right answers are known to the challenge alone. A further column
``PRODUCT_ID``, which is not eProduct's, names the product where somebody knows it.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from lookalike.catalogue.catalog import Catalog, CatalogItem, category_path, require_images, require_limits
from lookalike.catalogue.rows import CatalogRows
from lookalike.errors import InvalidInputError, Reason, shown
from lookalike.files.disk import writing

ANSWERS = 10
"""Ids that the challenge takes for each query."""

_IMAGES, _METADATA = "Images", "metadata"
_FILES = {"train.csv": "train", "val.csv": "val", "index.csv": "index", "query*.csv": "query"}
_ID_COLUMNS = ("UUID", "IMAGE_PATH")
_LEVEL_COLUMNS = ("META_CATEG_ID", "CATEG_LVL2_ID", "LEAF_CATEG_ID")
_LABEL_COLUMNS = ("AUCT_TITL", *_LEVEL_COLUMNS)
_UUID = re.compile(r"[0-9A-Za-z]{16}")


def read_eproduct(folder: str | os.PathLike[str], *, check_images: bool = True) -> Catalog:
    """Reads a folder in eProduct's layout as a catalogue.

    Each of its files becomes one split: ``train``, ``val``, ``index`` and, for all whose names begin with
    it, ``query``. Files may be missing. A category is its path of ids, lower ones may be empty; columns
    that are not eProduct's become attributes.

    Args:
        folder: The folder with ``Images`` and ``metadata``.
        check_images: Also require that every photo is there.

    Raises:
        InvalidInputError: A file or row is wrong; the message names file and line. The reasons are those
            of :func:`lookalike.catalogue.catalog.read_catalog`.
    """
    folder = Path(folder)
    files = [
        (file, split)
        for pattern, split in _FILES.items()
        for file in sorted((folder / _METADATA).glob(pattern))
    ]
    if not files:
        raise InvalidInputError(
            f"{folder.name} is not in eProduct's layout: there is no {_METADATA}/train.csv, val.csv,"
            " index.csv or query*.csv",
            reason=Reason.CATALOG_INVALID,
        )
    items: list[CatalogItem] = []
    seen: dict[str, str] = {}
    for file, split in files:
        items += _read_file(file, folder / _IMAGES, split, seen, check_images)
    if not items:
        raise InvalidInputError("the eProduct files have no rows", reason=Reason.CATALOG_INVALID)
    return Catalog(tuple(items), folder)


def write_submission(
    path: str | os.PathLike[str], answers: Iterable[tuple[str, Sequence[str]]], count: int = ANSWERS
) -> None:
    """Writes a submission: for each query one line ``query_uuid,uuid uuid ...``, best first, no header.

    Args:
        path: The file to write.
        answers: Query ids with their ranked index ids; what comes after the first ``count`` is cut.
        count: Ids of each query.

    Raises:
        InvalidInputError: An id is not a UUID of eProduct, a query comes twice, or a ranking is shorter
            than ``count`` or repeats an id. Nothing is written then.
    """
    lines: dict[str, str] = {}
    for query, ranked in answers:
        best = list(ranked[:count])
        if query in lines:
            raise _unfit(f"the query {query} comes twice")
        if len(best) < count or len(set(best)) < count:
            raise _unfit(f"the query {query} must have {count} different results, not {len(set(best))}")
        for name in (query, *best):
            if not _UUID.fullmatch(name):
                raise _unfit(f"{shown(name)} is not a UUID of 16 letters or digits")
        lines[query] = " ".join(best)
    path = Path(path)
    with writing(path), path.open("w", encoding="ascii", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines.items())


def _read_file(
    file: Path, images: Path, split: str, seen: dict[str, str], check_images: bool
) -> list[CatalogItem]:
    labelled = split in ("train", "val")
    rows = CatalogRows(file, _ID_COLUMNS + _LABEL_COLUMNS if labelled else _ID_COLUMNS)
    items: list[CatalogItem] = []
    lines: list[int] = []
    for row in rows:
        item = _item(rows, row, images, split)
        first = seen.setdefault(item.item_id, f"{file.name}, line {rows.line}")
        if first != f"{file.name}, line {rows.line}":
            raise rows.problem(f"the UUID {item.item_id} is already in {first}", column="UUID")
        items.append(item)
        lines.append(rows.line)
    if check_images:
        require_images(rows, items, lines)
    return items


def _item(rows: CatalogRows, row: dict[str, str], images: Path, split: str) -> CatalogItem:
    name, photo = (row.pop(column) for column in _ID_COLUMNS)
    if not _UUID.fullmatch(name):
        raise rows.problem(f"the UUID {shown(name)} is not 16 letters or digits", column="UUID")
    if not photo:
        raise rows.problem("the IMAGE_PATH is empty", column="IMAGE_PATH")
    title, *levels = (row.pop(column, "") for column in _LABEL_COLUMNS)
    item = CatalogItem(
        item_id=name,
        product_id=row.pop("PRODUCT_ID", "") or name,
        image_path=images / photo,
        title=title,
        categories=category_path(rows, levels, _LEVEL_COLUMNS),
        attributes={column: value for column, value in row.items() if value},
        splits=frozenset({split}),
    )
    require_limits(rows, item)
    return item


def _unfit(problem: str) -> InvalidInputError:
    return InvalidInputError(f"no submission can be written: {problem}", reason=Reason.CATALOG_INVALID)
