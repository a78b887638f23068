"""The catalogues that levers are measured on; each has searches to choose by, called `val`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import xxhash

from benchmarks.models.altered import altered_searches
from benchmarks.models.tasks import Search, Task, made_up, to_choose_by
from lookalike.catalogue.catalog import Catalog, CatalogItem, product_fold, read_catalog
from lookalike.catalogue.questions import all_questions

__all__ = ["DATA", "TO_CHOOSE_BY", "tasks"]

_HALVES = {"grocery-unseen-0": 0, "grocery-unseen-1": 1}
DATA = ("grocery", *_HALVES, "grocery-single", "fashion", "made-up")
TO_CHOOSE_BY = "val"
_PRODUCTS, _VIEWS, _SEED = 600, 6, 0


def tasks(names: Sequence[str], photos: Path | None, out: Path) -> list[Task]:
    """Returns the tasks of some names, each one of :data:`DATA` or ``NAME=CATALOG``.

    Args:
        names: What to measure on.
        photos: Folder of the real photos.
        out: Where pictures are made.

    Raises:
        ValueError: There is no such name, or its photos are not given.
    """
    return [_task(name, photos, out) for name in names]


def _task(name: str, photos: Path | None, out: Path) -> Task:
    if "=" in name:
        called, _, path = name.partition("=")
        return of_catalogue(called, read_catalog(Path(path)))
    if name == "made-up":
        made_up(out, _PRODUCTS, _VIEWS, _SEED)  # writes the catalogue
        file = out / f"made-up-{_PRODUCTS}-{_VIEWS}-{_SEED}" / "catalog.csv"
        return of_catalogue(name, read_catalog(file))
    if name not in DATA:
        raise ValueError(f"no data {name!r}: give NAME=CATALOG or one of {', '.join(DATA)}")
    if photos is None:
        raise ValueError(f"{name} needs --photos")
    if name in _HALVES:
        return _unseen(name, read_catalog(photos / "grocery" / "catalog.csv"), _HALVES[name])
    grocery, fashion = to_choose_by(photos)
    if name == "grocery":
        return replace(grocery, name=name)
    if name == "grocery-single":
        return replace(grocery, name=name, train=[_alone(item) for item in grocery.train])
    chosen_by, test = fashion.labelled["val"], fashion.labelled["test"]
    searches = {
        f"{TO_CHOOSE_BY}, altered photo → photo": altered_searches(
            chosen_by, fashion.train, out / "altered-val"
        ),
        "altered photo → photo": altered_searches(test, fashion.train, out / "altered-test"),
    }
    return replace(fashion, name=name, searches=searches)


def _unseen(name: str, catalog: Catalog, half: int) -> Task:
    """Returns a task that trains on half of the products and asks for the rest among all studio pictures."""
    train, studio = catalog.rows("train"), catalog.rows("index")
    held = {item.product_id for item in train if product_fold(item.product_id, 2) == half}
    kept = [item for item in train if item.product_id in held]
    queries = [item for item in catalog.rows("query") if item.product_id in held]
    seen = [item for item in train if item.product_id not in held]
    searches = {
        f"{TO_CHOOSE_BY}, photo → studio": Search.of(kept, studio),
        "photo → studio": Search.of(queries, studio),
    }
    return Task(name, seen, searches, {})


def of_catalogue(name: str, catalog: Catalog) -> Task:
    """Returns a task of any catalogue: queries among its index, and products kept aside to choose by.

    Those are the `val` rows where their products repeat, else a part of the products to train on; they are
    searched for among themselves and the rows trained on.
    """
    train, kept = catalog.rows("train"), catalog.rows("val")
    if len({item.product_id for item in kept}) == len(kept):
        held = _some_products(train)
        kept = [item for item in train if item.product_id in held]
        train = [item for item in train if item.product_id not in held]
    search = Search(all_questions(catalog), catalog.index_items())
    searches = {TO_CHOOSE_BY: Search.among(kept, train), "test": search}
    return Task(name, train, searches, {})


def _some_products(items: Sequence[CatalogItem]) -> set[str]:
    """Returns a seventh of the products with several photos, one at least, whatever their order."""
    photos = Counter(item.product_id for item in items)
    several = sorted(
        (product for product, count in photos.items() if count > 1),
        key=lambda product: xxhash.xxh64_intdigest(product.encode()),
    )
    return set(several[: max(1, len(several) // 7)])


def _alone(item: CatalogItem) -> CatalogItem:
    """A row whose product no other row shows, as where a catalogue has one photo of each."""
    return replace(item, product_id=item.item_id)
