"""From a catalogue to what is trained on and what is validated on: rows, their features, their labels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from embedder.model.taxonomy import MISSING, Taxonomy
from embedder.training.config import TrainConfig
from embedder.training.data import Labels
from embedder.training.pseudo_ids import pseudo_products
from embedder.training.titles import Attributes, mine_attributes
from lookalike.catalogue.catalog import Catalog, CatalogItem


@dataclass(frozen=True, slots=True)
class Rows:
    """Readable rows of a catalogue.

    Attributes:
        items: The rows.
        features: ``(copies, N, F)`` float32 of unit norm; the first copy is the unaltered photo.
    """

    items: list[CatalogItem]
    features: Tensor


def split_rows(
    catalog: Catalog, hold_out: float, seed: int
) -> tuple[list[CatalogItem], list[CatalogItem], str]:
    """Returns the rows to train on, those to validate on, and the split that the first come from.

    Validation rows are the catalogue's ``val`` rows; where it has none, all photos of a share of the
    products, so that no product is on both sides.

    Args:
        catalog: The catalogue.
        hold_out: That share.
        seed: Of the choice, which depends on it and on the product's id alone.
    """
    items, split = catalog.training_items()
    validation = catalog.rows("val")
    if not validation and hold_out:
        held = {
            product for product in {item.product_id for item in items} if _drawn(product, seed) < hold_out
        }
        validation = [item for item in items if item.product_id in held]
        items = [item for item in items if item.product_id not in held]
    return items, validation, split


def make_labels(rows: Rows, taxonomy: Taxonomy, config: TrainConfig) -> Labels:
    """Returns the training targets of some rows."""
    attributes = Attributes((), ((),) * len(rows.items))
    if config.title_loss != "none":
        titles = [item.title for item in rows.items]
        attributes = mine_attributes(titles, min_count=config.title_min_count)
    products = [item.product_id for item in rows.items]
    if config.identity == "pseudo":
        products = pseudo_products(rows.items, rows.features[0].numpy())
    return Labels(encode_classes(taxonomy, rows.items), number_repeated(products), attributes)


def encode_classes(taxonomy: Taxonomy, items: Sequence[CatalogItem]) -> Tensor:
    """Returns ``(N, levels)`` int64 class numbers, ``MISSING`` where a row has no class of the tree."""
    encoded = taxonomy.encode(item.categories for item in items)
    return torch.tensor(encoded, dtype=torch.int64).reshape(len(items), len(taxonomy.paths))


def number_repeated(products: Sequence[str]) -> Tensor:
    """Number the products that have two rows or more, ``MISSING`` for the others: ``(N,)`` int64."""
    counts = Counter(products)
    repeated = sorted(product for product, count in counts.items() if count > 1)
    numbers = {product: number for number, product in enumerate(repeated)}
    return torch.tensor([numbers.get(product, MISSING) for product in products], dtype=torch.int64)


def _drawn(product: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed} {product}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
