"""Categories by the vote of the nearest labelled items, compared with every one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from embedder.evaluation.search import NOBODY, nearest
from lookalike.catalogue.catalog import CatalogItem
from lookalike.categories.belief import Belief
from lookalike.categories.tree import CategoryPath
from lookalike.categories.vote import NEIGHBOURS, votes_of, with_votes


def votes_on(
    rows: Sequence[CatalogItem],
    index: Sequence[CatalogItem],
    vectors: Mapping[str, npt.NDArray[np.float32]],
) -> list[dict[CategoryPath, float]]:
    """Returns how the nearest labelled items vote on each row, which has no vote on itself.

    Args:
        rows: All of them have a vector.
        index: Items that vote, those with a category and a vector.
        vectors: By item id ``(D,)`` float32 of unit norm.
    """
    voters = sorted(
        (item for item in index if item.categories and item.item_id in vectors),
        key=lambda item: item.item_id,
    )
    if not voters or not rows:
        return [{} for _ in rows]
    place = {item.item_id: number for number, item in enumerate(voters)}
    found = nearest(
        np.stack([vectors[item.item_id] for item in rows]),
        np.stack([vectors[item.item_id] for item in voters]),
        NEIGHBOURS,
        np.array([place.get(item.item_id, NOBODY) for item in rows], dtype=np.int64),
    )
    return [
        votes_of(
            (voters[number].categories, score)
            for number, score in zip(numbers, scores, strict=True)
            if number != NOBODY
        )
        for numbers, scores in zip(found.positions.tolist(), found.scores.tolist(), strict=True)
    ]


def categories_by_vote(
    rows: Sequence[CatalogItem],
    index: Sequence[CatalogItem],
    vectors: Mapping[str, npt.NDArray[np.float32]],
    beliefs: Mapping[str, Belief],
) -> list[CategoryPath]:
    """Returns each row's category by model and vote, by the vote alone for a model without categories.

    Args:
        rows: All of them have a vector.
        index: Items that vote, those with a category and a vector.
        vectors: By item id ``(D,)`` float32 of unit norm.
        beliefs: Of the model, by item id.

    Returns:
        Nothing where no item can vote.
    """
    votes = votes_on(rows, index, vectors)
    if not any(votes):
        return []
    pairs = zip(rows, votes, strict=True)
    return [with_votes(beliefs.get(item.item_id), vote).category for item, vote in pairs]
