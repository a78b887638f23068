"""The catalogue format: a CSV file with one row per photo of a listing.

The columns ``item_id, product_id, image_path, title, meta, level2, leaf, split`` are required, in any
order; every further column is an attribute. ``image_path`` is relative to the folder of the CSV. A
category is its whole path ``meta / level2 / leaf``; lower levels may be empty, a level above a filled
one may not. ``split`` is empty, or one or several of ``train val index query both``. Ids, titles, categories
and attributes keep to the limits that types.proto gives for an item.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lookalike import limits
from lookalike.errors import InvalidInputError, Reason

LEVELS = ("meta", "level2", "leaf")
COLUMNS = ("item_id", "product_id", "image_path", "title", *LEVELS, "split")
SPLITS = ("train", "val", "index", "query", "both")

_MISSING_SHOWN = 3


@dataclass(frozen=True, slots=True)
class CatalogItem:
    """One row of a catalogue.

    Attributes:
        item_id: Unique name of the photo's listing.
        product_id: The product shown; photos of one product share it.
        image_path: The photo, resolved against the folder of the CSV.
        title: The listing's title; may be empty.
        categories: Category path from the top level down, without trailing empty levels.
        attributes: Further columns that are filled in this row, by column name.
        splits: What the row is for; a subset of :data:`SPLITS`.
    """

    item_id: str
    product_id: str
    image_path: Path
    title: str = ""
    categories: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    splits: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Catalog:
    """A catalogue that was read and checked; ``root`` is the folder of its CSV file."""

    items: tuple[CatalogItem, ...]
    root: Path

    def rows(self, *splits: str) -> list[CatalogItem]:
        """Return the items that are in any of the named splits, in file order."""
        wanted = frozenset(splits)
        return [item for item in self.items if item.splits & wanted]

    def index_items(self) -> list[CatalogItem]:
        """Return the items that go into the index."""
        return self.rows("index", "both")

    def query_items(self) -> list[CatalogItem]:
        """Return the items that are searched for."""
        return self.rows("query", "both")

    def training_items(self) -> tuple[list[CatalogItem], str]:
        """Return the items to train on, and the split they come from: ``train``, else ``index``.

        Raises:
            InvalidInputError: No row is in ``train``, ``index`` or ``both``.
        """
        if train := self.rows("train"):
            return train, "train"
        if index := self.index_items():
            return index, "index"
        raise InvalidInputError(
            "the catalogue has nothing to train on: no row's split names train, index or both",
            reason=Reason.CATALOG_INVALID,
            field="split",
        )


def read_catalog(path: str | os.PathLike[str], *, check_images: bool = True) -> Catalog:
    """Read and check a catalogue.

    Args:
        path: The CSV file: UTF-8 with or without a byte-order mark, any of the usual line ends.
        check_images: Also require that every photo is there.

    Raises:
        InvalidInputError: The file cannot be read or a row is wrong; the message names file and line.
            The reason is ``CATEGORY_INVALID`` for a gap in a category path, ``PRODUCT_CONFLICT`` for
            one item with two products, and ``CATALOG_INVALID`` for everything else.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            items, lines = _read_rows(path, file)
    except OSError as error:
        problem = f"cannot read the catalogue {path.name}: {error.strerror or error}"
        raise InvalidInputError(problem, reason=Reason.CATALOG_INVALID) from None
    if not items:
        raise _problem(path, 1, "the catalogue has no rows; it needs at least one below the header")
    if check_images:
        _require_images(path, items, lines)
    return Catalog(items=tuple(items), root=path.parent)


def write_catalog(path: str | os.PathLike[str], items: Iterable[CatalogItem]) -> None:
    """Write ``items`` as a catalogue that :func:`read_catalog` reads back unchanged.

    Attribute columns are the union over all items, in order of first appearance. Photos must lie where
    a path relative to the folder of ``path`` can reach them.
    """
    path = Path(path)
    items = list(items)
    attributes = list(dict.fromkeys(name for item in items for name in item.attributes))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *attributes])
        for item in items:
            levels = [*item.categories, "", "", ""][: len(LEVELS)]
            photo = Path(os.path.relpath(item.image_path, path.parent)).as_posix()
            splits = " ".join(split for split in SPLITS if split in item.splits)
            extra = [item.attributes.get(name, "") for name in attributes]
            writer.writerow([item.item_id, item.product_id, photo, item.title, *levels, splits, *extra])


def _problem(
    path: Path, line: int, text: str, *, reason: Reason = Reason.CATALOG_INVALID, column: str = ""
) -> InvalidInputError:
    return InvalidInputError(f"{path.name}, line {line}: {text}", reason=reason, field=column)


def _text_lines(path: Path, file: BinaryIO) -> Iterator[str]:
    """Decode line by line, so that a bad byte is reported with its own line number."""
    for number, raw in enumerate(file, start=1):
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise _problem(path, number, "not UTF-8 text; save the catalogue as UTF-8 CSV") from None


def _read_rows(path: Path, file: BinaryIO) -> tuple[list[CatalogItem], list[int]]:
    """Return the items and the line on which each one ends."""
    reader = csv.reader(_text_lines(path, file), strict=True)
    items: list[CatalogItem] = []
    lines: list[int] = []
    seen: dict[str, tuple[str, int]] = {}
    try:
        header = _checked_header(path, next(reader, []))
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                wrong = f"{len(cells)} cells where the header has {len(header)} columns"
                raise _problem(path, reader.line_num, wrong)
            row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
            item = _item(path, reader.line_num, row)
            _require_new(path, reader.line_num, item, seen)
            items.append(item)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise _problem(path, reader.line_num, f"not a well-formed CSV row: {error}") from None
    return items, lines


def _checked_header(path: Path, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    if not any(header):
        raise _problem(path, 1, f"there is no header; it must name the columns {', '.join(COLUMNS)}")
    if "" in header:
        raise _problem(path, 1, f"column {header.index('') + 1} has no name")
    repeated = [name for position, name in enumerate(header) if name in header[:position]]
    if repeated:
        raise _problem(path, 1, f"the column {repeated[0]} appears more than once", column=repeated[0])
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise _problem(path, 1, f"missing column {', '.join(missing)}", column=missing[0])
    return header


def _item(path: Path, line: int, row: dict[str, str]) -> CatalogItem:
    """Build one item; consumes ``row``, so that what is left over are the attributes."""
    values = {name: row.pop(name) for name in COLUMNS}
    for name in ("item_id", "product_id", "image_path"):
        if not values[name]:
            raise _problem(path, line, f"the {name} is empty", column=name)
    item = CatalogItem(
        item_id=values["item_id"],
        product_id=values["product_id"],
        image_path=path.parent / values["image_path"],
        title=values["title"],
        categories=_categories(path, line, [values[name] for name in LEVELS]),
        attributes={name: value for name, value in row.items() if value},
        splits=_splits(path, line, values["split"]),
    )
    _require_limits(path, line, item)
    return item


def _require_limits(path: Path, line: int, item: CatalogItem) -> None:
    """Refuse here, with the line, what the server would refuse in the middle of a load."""
    if len(item.attributes) > limits.MAX_ATTRIBUTES:
        text = f"{len(item.attributes)} further columns are filled; at most {limits.MAX_ATTRIBUTES} can be"
        raise _problem(path, line, text)
    sized = [
        ("item_id", item.item_id, limits.MAX_ID_BYTES),
        ("product_id", item.product_id, limits.MAX_ID_BYTES),
        ("title", item.title, limits.MAX_TITLE_BYTES),
        *(
            (level, name, limits.MAX_CATEGORY_NAME_BYTES)
            for level, name in zip(LEVELS, item.categories, strict=False)
        ),
        *((name, value, limits.MAX_ATTRIBUTE_VALUE_BYTES) for name, value in item.attributes.items()),
    ]
    for column, value, max_bytes in sized:
        if len(column.encode()) > limits.MAX_ATTRIBUTE_NAME_BYTES:
            text = f"a column's name has more than {limits.MAX_ATTRIBUTE_NAME_BYTES} bytes: {column[:32]}..."
            raise _problem(path, 1, text)
        if (size := len(value.encode())) > max_bytes:
            raise _problem(
                path, line, f"the {column} has {size} bytes, at most {max_bytes} are allowed", column=column
            )


def _categories(path: Path, line: int, levels: list[str]) -> tuple[str, ...]:
    depth = max((position for position, name in enumerate(levels, start=1) if name), default=0)
    for position in range(depth):
        if not levels[position]:
            empty, filled = LEVELS[position], LEVELS[depth - 1]
            text = f"the category level {empty} is empty above {filled} {levels[depth - 1]!r}"
            raise _problem(path, line, text, reason=Reason.CATEGORY_INVALID, column=empty)
    return tuple(levels[:depth])


def _splits(path: Path, line: int, cell: str) -> frozenset[str]:
    splits = frozenset(filter(None, re.split(r"[\s|;]+", cell)))
    unknown = sorted(splits.difference(SPLITS))
    if unknown:
        text = f"unknown split {unknown[0]!r}; it must be empty or any of {', '.join(SPLITS)}"
        raise _problem(path, line, text, column="split")
    return splits


def _require_new(path: Path, line: int, item: CatalogItem, seen: dict[str, tuple[str, int]]) -> None:
    product, first = seen.setdefault(item.item_id, (item.product_id, line))
    if first == line:
        return
    if product != item.product_id:
        text = f"item {item.item_id!r} has product {item.product_id!r} here but {product!r} on line {first}"
        raise _problem(path, line, text, reason=Reason.PRODUCT_CONFLICT, column="product_id")
    raise _problem(path, line, f"item {item.item_id!r} is already on line {first}", column="item_id")


def _require_images(path: Path, items: list[CatalogItem], lines: list[int]) -> None:
    missing = [(item, line) for item, line in zip(items, lines, strict=True) if not item.image_path.is_file()]
    if not missing:
        return
    shown = [os.path.relpath(item.image_path, path.parent) for item, _ in missing[:_MISSING_SHOWN]]
    more = ", ..." if len(missing) > _MISSING_SHOWN else ""
    text = f"{len(missing)} of {len(items)} image files are missing: {', '.join(shown)}{more}"
    raise _problem(path, missing[0][1], text, column="image_path")
