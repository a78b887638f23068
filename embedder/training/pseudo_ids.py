"""Pseudo-products for catalogues that give no product ids: listings that look and read like one thing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.cluster import DBSCAN

from lookalike.catalogue.catalog import CatalogItem


def pseudo_products(
    items: Sequence[CatalogItem], features: npt.NDArray[np.float32], *, max_distance: float = 0.05
) -> list[str]:
    """Groups rows into pseudo-products, within their category.

    Rows of one category are one pseudo-product if they are linked by near-equal features (DBSCAN; Ester
    et al., KDD 1996) or share their title, case and spacing aside.

    Args:
        items: The rows.
        features: ``(N, F)`` float32 of unit norm.
        max_distance: Cosine distance up to which two rows are linked.

    Returns:
        One id per row; a row that is linked with no other has an id of its own.
    """
    found = [""] * len(items)
    by_category: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, item in enumerate(items):
        by_category[item.categories].append(row)
    # Of unit vectors, the squared distance is twice the cosine distance.
    cluster = DBSCAN(eps=float(np.sqrt(2 * max_distance)), min_samples=2)
    for number, rows in enumerate(by_category.values()):
        labels = cluster.fit_predict(features[rows])
        root = _Union(len(rows))
        first: dict[str, int] = {}
        for place, (row, label) in enumerate(zip(rows, labels, strict=True)):
            title = " ".join(items[row].title.casefold().split())
            for linked, key in ((label >= 0, f"cluster {label}"), (bool(title), f"title {title}")):
                if linked:
                    root.join(place, first.setdefault(key, place))
        for place, row in enumerate(rows):
            found[row] = f"{number}/{root.find(place)}"
    return found


class _Union:
    """Disjoint sets of ``0 .. size - 1``, each named by its smallest member."""

    def __init__(self, size: int) -> None:
        self._above = list(range(size))

    def find(self, member: int) -> int:
        while self._above[member] != member:
            self._above[member] = self._above[self._above[member]]
            member = self._above[member]
        return member

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.find(one), self.find(other)))
        self._above[high] = low
