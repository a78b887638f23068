"""What models are trained on and what they are asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import xxhash

from lookalike.catalogue.catalog import Catalog, CatalogItem, read_catalog, split_by_product
from lookalike.catalogue.questions import Question, all_questions
from lookalike.synth import generate

__all__ = [
    "FOLDS",
    "Search",
    "Task",
    "folds",
    "made_up",
    "made_up_folder",
    "to_choose_by",
    "to_quote",
]

FOLDS = 5
_CHOSEN_BY = 0.15


@dataclass(frozen=True, slots=True)
class Search:
    """Queries and the photos that they are searched for among."""

    questions: list[Question]
    index: list[CatalogItem]

    @classmethod
    def of(cls, queries: Iterable[CatalogItem], index: Iterable[CatalogItem]) -> Search:
        """Returns a search for rows among others."""
        asked = [replace(item, splits=frozenset({"query"})) for item in queries]
        found = [replace(item, splits=frozenset({"index"})) for item in index]
        return cls(all_questions(Catalog((*asked, *found), Path())), found)

    @classmethod
    def among(cls, rows: Iterable[CatalogItem], others: Iterable[CatalogItem] = ()) -> Search:
        """Returns a search for rows among themselves and others; their own photos are left out."""
        asked = [replace(item, splits=frozenset({"both"})) for item in rows]
        around = [replace(item, splits=frozenset({"index"})) for item in others]
        catalog = Catalog((*asked, *around), Path())
        return cls(all_questions(catalog), catalog.index_items())


@dataclass(frozen=True, slots=True)
class Task:
    """Rows to train on, and what to measure of the model.

    Attributes:
        name: What tables call it.
        train: The rows to train on.
        searches: By name.
        labelled: Rows whose categories are predicted, by name.
        settings: Settings that the catalogue wants of every model that is trained on it.
    """

    name: str
    train: list[CatalogItem]
    searches: Mapping[str, Search]
    labelled: Mapping[str, list[CatalogItem]]
    settings: dict[str, object] = field(default_factory=dict)

    def catalog(self) -> Catalog:
        """Returns the rows to train on as a catalogue of their own."""
        rows = (replace(item, splits=frozenset({"train"})) for item in self.train)
        return Catalog(tuple(rows), Path())


def to_choose_by(photos: Path) -> list[Task]:
    """Trained on a part of the `train` rows, so that settings can be chosen by the rest of them."""
    grocery, fashion = (read_catalog(photos / name / "catalog.csv") for name in ("grocery", "fashion"))
    train, chosen_by = _parted(grocery.rows("train"), lambda item: item.item_id)
    queries, studio = grocery.rows("query"), grocery.rows("index")
    searches = {
        "val, photo → studio": Search.of(chosen_by, studio),
        "val, photo → photo": Search.of(chosen_by, train),
        "photo → studio": Search.of(queries, studio),
        "photo → photo": Search.of(queries, train),
    }
    labelled = {"val": chosen_by, "test": queries}
    first = Task("grocery", train, searches, labelled)
    # Rows of one title may show one product: they stay on one side. Every listing is its own product there.
    train, chosen_by = _parted(fashion.rows("train"), lambda item: item.title)
    labelled = {"val": chosen_by, "test": fashion.rows("val")}
    return [first, Task("fashion", train, {}, labelled, {"identity": "pseudo"})]


def to_quote(photos: Path) -> list[Task]:
    """Trained on all that may be trained on: without and with the index that is searched."""
    grocery = read_catalog(photos / "grocery" / "catalog.csv")
    train, queries, studio = (grocery.rows(split) for split in ("train", "query", "index"))
    searches = {"photo → studio": Search.of(queries, studio), "photo → photo": Search.of(queries, train)}
    return [
        Task("trained on train", train, searches, {"test": queries}),
        Task("trained on train and index", [*train, *studio], searches, {"test": queries}),
    ]


def folds(photos: Path) -> list[Task]:
    """Each fold of the products held out once."""
    grocery = read_catalog(photos / "grocery" / "catalog.csv")
    parts = [split_by_product(grocery, fold, FOLDS) for fold in range(FOLDS)]
    return [
        Task(
            f"fold {fold}",
            part.rows("train"),
            {"photo → studio": Search.of(part.query_items(), part.index_items())},
            {},
        )
        for fold, part in enumerate(parts)
    ]


def made_up(parent: Path, products: int, views: int, seed: int) -> Task:
    """The simulator's products, those searched for not among those trained on."""
    catalog = read_catalog(made_up_folder(parent, products, views, seed) / "catalog.csv")
    search = Search(all_questions(catalog), catalog.index_items())
    queries = [question.item for question in search.questions]
    return Task("made-up products", catalog.rows("train"), {"unseen products": search}, {"test": queries})


def made_up_folder(parent: Path, products: int, views: int, seed: int) -> Path:
    """Returns the folder of a simulated catalogue, which is made where there is none."""
    parameters = {"products": products, "views": views, "seed": seed}
    folder = parent / f"made-up-{products}-{views}-{seed}"
    done = folder / "parameters.json"
    if not done.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        generate(folder, products=products, views=views, seed=seed)
        done.write_text(json.dumps(parameters))
    return folder


def _parted(
    items: list[CatalogItem], key: Callable[[CatalogItem], str]
) -> tuple[list[CatalogItem], list[CatalogItem]]:
    """Splits rows by a hash of what must stay together."""
    drawn = [xxhash.xxh64_intdigest(key(item).encode()) / 2**64 < _CHOSEN_BY for item in items]
    return (
        [item for item, chosen in zip(items, drawn, strict=True) if not chosen],
        [item for item, chosen in zip(items, drawn, strict=True) if chosen],
    )
