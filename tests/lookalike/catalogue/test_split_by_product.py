"""No product is both trained on and searched for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.catalogue.catalog import SPLITS, Catalog, CatalogItem, product_fold, split_by_product
from lookalike.errors import InvalidInputError

ROWS = st.lists(
    st.tuples(st.integers(0, 12), st.frozensets(st.sampled_from(SPLITS))), min_size=1, max_size=40
)


def catalog_of(*rows: tuple[int, set[str] | frozenset[str]]) -> Catalog:
    return Catalog(
        tuple(
            CatalogItem(str(number), f"p{product}", Path(f"{number}.jpg"), splits=frozenset(splits))
            for number, (product, splits) in enumerate(rows)
        ),
        Path(),
    )


def products(items: list[CatalogItem]) -> set[str]:
    return {item.product_id for item in items}


@given(ROWS, st.integers(2, 4), st.integers(0, 3))
def test_no_product_leaks(rows: list[tuple[int, frozenset[str]]], folds: int, seed: int) -> None:
    catalog = catalog_of(*rows)
    searched: list[str] = []
    complete = True
    for fold in range(folds):
        try:
            split = split_by_product(catalog, fold, folds, seed)
        except InvalidInputError:
            complete = False
            continue
        trained, asked = products(split.training_items()[0]), products(split.query_items())
        assert not asked & (trained | products(split.rows("val")))
        assert asked <= {p for p in products(list(catalog.items)) if product_fold(p, folds, seed) == fold}
        searched += [item.item_id for item in split.query_items()]
        if catalog.query_items():
            # The index stays as large, and a query stays what it was.
            assert split.index_items() == [
                item for item in split.items if catalog.items[int(item.item_id)] in catalog.index_items()
            ]
    if complete and catalog.query_items():
        assert sorted(searched) == sorted(item.item_id for item in catalog.query_items())


def test_rows_keep_what_does_not_leak() -> None:
    held = next(n for n in range(100) if product_fold(f"p{n}", 2) == 0)
    other = next(n for n in range(100) if product_fold(f"p{n}", 2) == 1)
    purposes: list[set[str]] = [{"train"}, {"val"}, {"index"}, {"query"}, {"both"}, {"train", "index"}, set()]
    catalog = catalog_of(*((product, splits) for product in (held, other) for splits in purposes))
    split = [set(item.splits) for item in split_by_product(catalog, 0, 2).items]
    assert split[:7] == [set(), set(), {"index"}, {"query"}, {"both"}, {"index"}, set()]
    assert split[7:] == [{"train"}, {"val"}, {"index"}, set(), {"index"}, {"train", "index"}, set()]


def test_a_catalogue_without_purposes_is_given_them() -> None:
    catalog = catalog_of(*((product, {"index"}) for product in range(20) for _ in range(2)))
    split = split_by_product(catalog, 1, 4)
    held = {f"p{n}" for n in range(20) if product_fold(f"p{n}", 4) == 1}
    assert 0 < len(held) < 20
    assert products(split.query_items()) == held
    assert {item.product_id for item in split.training_items()[0]} == products(list(catalog.items)) - held
    assert len(split.index_items()) == 40


def test_folds_are_of_similar_size_and_do_not_depend_on_other_rows() -> None:
    folds = [product_fold(f"product {n}", 5) for n in range(5000)]
    assert all(900 < folds.count(fold) < 1100 for fold in range(5))
    assert folds[17] == product_fold("product 17", 5)
    assert folds != [product_fold(f"product {n}", 5, seed=1) for n in range(5000)]


@pytest.mark.parametrize(("fold", "folds"), [(0, 1), (5, 5), (-1, 5)])
def test_folds_that_do_not_exist_are_refused(fold: int, folds: int) -> None:
    with pytest.raises(InvalidInputError, match="two folds or more and a fold below their number"):
        split_by_product(catalog_of((0, {"both"})), fold, folds)


def test_a_fold_without_products_is_refused() -> None:
    fold = product_fold("p0", 2)
    with pytest.raises(InvalidInputError, match="no product to train on"):
        split_by_product(catalog_of((0, {"both"})), fold, 2)
    with pytest.raises(InvalidInputError, match="no product to search for"):
        split_by_product(catalog_of((0, {"both"})), 1 - fold, 2)
