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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import xxhash

from lookalike import limits
from lookalike.catalogue.rows import CatalogRows
from lookalike.errors import InvalidInputError, Reason, shown
from lookalike.files.disk import writing

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

    def __post_init__(self) -> None:
        for name in ("categories", "splits"):
            if isinstance(getattr(self, name), str):
                raise InvalidInputError(f"{name} must be a sequence of texts, not one str", field=name)


@dataclass(frozen=True, slots=True)
class Catalog:
    """A catalogue that was read and checked; ``root`` is the folder of its CSV file."""

    items: tuple[CatalogItem, ...]
    root: Path

    def rows(self, *splits: str) -> list[CatalogItem]:
        """Returns the items that are in any of the named splits, in file order."""
        wanted = frozenset(splits)
        return [item for item in self.items if item.splits & wanted]

    def index_items(self) -> list[CatalogItem]:
        """Returns the items that go into the index."""
        return self.rows("index", "both")

    def query_items(self) -> list[CatalogItem]:
        """Returns the items that are searched for."""
        return self.rows("query", "both")

    def training_items(self) -> tuple[list[CatalogItem], str]:
        """Returns the items to train on, and the split they come from: ``train``, else ``index``.

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
    """Reads and checks a catalogue.

    Args:
        path: The CSV file: UTF-8 with or without a byte-order mark, any of the usual line ends.
        check_images: Also require that every photo is there.

    Raises:
        InvalidInputError: The file cannot be read or a row is wrong; the message names file and line.
            The reason is ``CATEGORY_INVALID`` for a gap in a category path, ``PRODUCT_CONFLICT`` for
            one item with two products, and ``CATALOG_INVALID`` for everything else.
    """
    rows = CatalogRows(Path(path), COLUMNS)
    items, lines = _read_rows(rows)
    if not items:
        raise rows.problem("the catalogue has no rows; it needs at least one below the header", line=1)
    if check_images:
        require_images(rows, items, lines)
    return Catalog(items=tuple(items), root=rows.path.parent)


def product_fold(product_id: str, folds: int, seed: int = 0) -> int:
    """Returns the fold that a product belongs to, in ``0..folds - 1``.

    It depends on the product's id alone, so that photos added to a catalogue move no other.
    """
    return xxhash.xxh64_intdigest(product_id.encode(), seed) % folds


def split_by_product(catalog: Catalog, fold: int, folds: int = 5, seed: int = 0) -> Catalog:
    """Holds one fold of the products out, so that none is both trained on and searched for.

    A row of a held-out product is neither trained on nor chosen by: ``train`` and ``val`` are taken from
    it. A row of any other product is not searched for: its ``query`` is taken, and ``both`` becomes
    ``index``, so that the index stays as large and as hard. Where the catalogue says nothing of a purpose,
    it is given one: without any ``train`` row the other products' indexed rows are trained on, and without
    any query the held-out rows become ``both``.

    Args:
        catalog: The catalogue.
        fold: The fold to hold out, ``0..folds - 1``.
        folds: Number of folds, at least 2; over all of them every product is held out once.
        seed: Another seed makes other folds.

    Returns:
        The same rows with other splits.

    Raises:
        InvalidInputError: The numbers do not fit, or a side of the split has no rows.
    """
    if folds < 2 or not 0 <= fold < folds:
        raise InvalidInputError(
            f"a split by product needs two folds or more and a fold below their number, not {fold}/{folds}",
            reason=Reason.FIELD_OUT_OF_RANGE,
        )
    has_train, has_queries = bool(catalog.rows("train")), bool(catalog.query_items())
    items = []
    for item in catalog.items:
        if product_fold(item.product_id, folds, seed) == fold:
            splits = item.splits - {"train", "val"} if has_queries else {"both"}
        else:
            indexed = {"index"} if item.splits & {"index", "both"} else set()
            trained = {"train"} if indexed and not has_train else set()
            splits = (item.splits - {"query", "both"}) | indexed | trained
        items.append(replace(item, splits=frozenset(splits)))
    split = Catalog(tuple(items), catalog.root)
    if not split.rows("train") or not split.query_items():
        lacking = "train on" if split.query_items() else "search for"
        raise InvalidInputError(
            f"fold {fold} of {folds} leaves no product to {lacking}; take another fold or fewer of them",
            reason=Reason.CATALOG_INVALID,
        )
    return split


def write_catalog(path: str | os.PathLike[str], items: Iterable[CatalogItem]) -> None:
    """Writes ``items`` as a catalogue that :func:`read_catalog` reads back unchanged.

    Attribute columns are the union over all items, in order of first appearance. Photos must lie where
    a path relative to the folder of ``path`` can reach them.

    Raises:
        InvalidInputError: A text or a photo's name is not Unicode.
    """
    path = Path(path)
    items = list(items)
    attributes = list(dict.fromkeys(name for item in items for name in item.attributes))
    with writing(path), path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *attributes])
        for item in items:
            levels = [*item.categories, "", "", ""][: len(LEVELS)]
            photo = Path(os.path.relpath(item.image_path, path.parent)).as_posix()
            splits = " ".join(split for split in SPLITS if split in item.splits)
            extra = [item.attributes.get(name, "") for name in attributes]
            row = [item.item_id, item.product_id, photo, item.title, *levels, splits, *extra]
            try:
                writer.writerow(row)
            except UnicodeEncodeError as error:
                raise InvalidInputError(
                    f"item {shown(item.item_id)}: {shown(error.object)} is not Unicode text",
                    reason=Reason.CATALOG_INVALID,
                ) from None


def _read_rows(rows: CatalogRows) -> tuple[list[CatalogItem], list[int]]:
    """Returns the items and the line on which each one ends."""
    items: list[CatalogItem] = []
    lines: list[int] = []
    seen: dict[str, tuple[str, int]] = {}
    for row in rows:
        item = _item(rows, row)
        _require_new(rows, item, seen)
        items.append(item)
        lines.append(rows.line)
    return items, lines


def _item(rows: CatalogRows, row: dict[str, str]) -> CatalogItem:
    """Builds one item; consumes ``row``, so that what is left over are the attributes."""
    values = {name: row.pop(name) for name in COLUMNS}
    for name in ("item_id", "product_id", "image_path"):
        if not values[name]:
            raise rows.problem(f"the {name} is empty", column=name)
    item = CatalogItem(
        item_id=values["item_id"],
        product_id=values["product_id"],
        image_path=rows.path.parent / values["image_path"],
        title=values["title"],
        categories=category_path(rows, [values[name] for name in LEVELS], LEVELS),
        attributes={name: value for name, value in row.items() if value},
        splits=_splits(rows, values["split"]),
    )
    require_limits(rows, item)
    return item


def require_limits(rows: CatalogRows, item: CatalogItem) -> None:
    """Refuses here, with the line, what the server would refuse in the middle of a load.

    Args:
        rows: Where the item comes from; its current row is the item's.
        item: The item.

    Raises:
        InvalidInputError: An id, title, category or attribute is too long, or there are too many.
    """
    if len(item.attributes) > limits.MAX_ATTRIBUTES:
        text = f"{len(item.attributes)} further columns are filled; at most {limits.MAX_ATTRIBUTES} can be"
        raise rows.problem(text)
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
            raise rows.problem(text, line=1)
        if (size := len(value.encode())) > max_bytes:
            raise rows.problem(
                f"the {column} has {size} bytes, at most {max_bytes} are allowed", column=column
            )


def category_path(rows: CatalogRows, names: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """Returns a category path without its trailing empty levels.

    Args:
        rows: Where the names come from, for the error.
        names: From the top level down; lower ones may be empty.
        columns: The columns that they come from.

    Raises:
        InvalidInputError: A level is empty above a filled one (``CATEGORY_INVALID``).
    """
    depth = max((position for position, name in enumerate(names, start=1) if name), default=0)
    for position in range(depth):
        if not names[position]:
            empty, filled = columns[position], columns[depth - 1]
            text = f"the category level {empty} is empty above {filled} {shown(names[depth - 1])}"
            raise rows.problem(text, reason=Reason.CATEGORY_INVALID, column=empty)
    return tuple(names[:depth])


def _splits(rows: CatalogRows, cell: str) -> frozenset[str]:
    splits = frozenset(filter(None, re.split(r"[\s|;]+", cell)))
    unknown = sorted(splits.difference(SPLITS))
    if unknown:
        text = f"unknown split {shown(unknown[0])}; it must be empty or any of {', '.join(SPLITS)}"
        raise rows.problem(text, column="split")
    return splits


def _require_new(rows: CatalogRows, item: CatalogItem, seen: dict[str, tuple[str, int]]) -> None:
    product, first = seen.setdefault(item.item_id, (item.product_id, rows.line))
    if first == rows.line:
        return
    if product != item.product_id:
        here, there = shown(item.product_id), shown(product)
        text = f"item {shown(item.item_id)} has product {here} here but {there} on line {first}"
        raise rows.problem(text, reason=Reason.PRODUCT_CONFLICT, column="product_id")
    raise rows.problem(f"item {shown(item.item_id)} is already on line {first}", column="item_id")


def require_images(rows: CatalogRows, items: Sequence[CatalogItem], lines: Sequence[int]) -> None:
    """Refuses a catalogue whose photos are not all there.

    Args:
        rows: The file that the items come from.
        items: The items.
        lines: The line of each.

    Raises:
        InvalidInputError: Photos are missing; the message counts them and names the first.
    """
    missing = [(item, line) for item, line in zip(items, lines, strict=True) if not item.image_path.is_file()]
    if not missing:
        return
    named = [os.path.relpath(item.image_path, rows.path.parent) for item, _ in missing[:_MISSING_SHOWN]]
    more = ", ..." if len(missing) > _MISSING_SHOWN else ""
    text = f"{len(missing)} of {len(items)} image files are missing: {', '.join(named)}{more}"
    raise rows.problem(text, line=missing[0][1], column="image_path")
