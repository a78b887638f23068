"""What a catalogue asks and what the right answers are."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from lookalike.catalogue.catalog import Catalog, CatalogItem
from lookalike.errors import InvalidInputError, Reason


@dataclass(frozen=True, slots=True)
class Question:
    """A row to search for, and the ids of the indexed items of its product, itself not among them."""

    item: CatalogItem
    relevant: frozenset[str]
    indexed: bool
    """Whether the photo itself is in the index, and will be found."""


def all_questions(catalog: Catalog) -> list[Question]:
    """Returns the rows with split ``query`` or ``both``; some may have no right answer in the index."""
    by_product: dict[str, set[str]] = defaultdict(set)
    for item in catalog.index_items():
        by_product[item.product_id].add(item.item_id)
    found = []
    for item in catalog.query_items():
        same = by_product.get(item.product_id, set())
        found.append(Question(item, frozenset(same - {item.item_id}), indexed=item.item_id in same))
    return found


def questions(catalog: Catalog) -> list[Question]:
    """Returns the rows with split ``query`` or ``both`` that have at least one right answer in the index.

    Raises:
        InvalidInputError: There is none.
    """
    found = [question for question in all_questions(catalog) if question.relevant]
    if not found:
        raise InvalidInputError(
            "the catalogue has no query with a right answer: no row with split query or both has another"
            " row of its product with split index or both",
            reason=Reason.CATALOG_INVALID,
            field="split",
        )
    return found
