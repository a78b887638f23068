"""A few queries with their answers, to look at."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lookalike.catalogue.catalog import Catalog
from lookalike.cli.ranking import Ranking

EXAMPLES = 8
HITS = 7


@dataclass(frozen=True, slots=True)
class ExampleHit:
    """One answer: its photo, and whether it is the query's product."""

    photo: Path
    title: str
    score: float
    right: bool


@dataclass(frozen=True, slots=True)
class Example:
    """One query and its best answers; ``truth_count`` right answers exist."""

    photo: Path
    title: str
    category: tuple[str, ...]
    truth_count: int
    hits: tuple[ExampleHit, ...]


def draw_examples(rankings: Sequence[Ranking], catalog: Catalog, *, seed: int = 0) -> list[Example]:
    """Draws queries at random, of different leaf categories as far as there are."""
    photos = {item.item_id: item for item in catalog.items}
    shuffled = list(rankings)
    random.Random(seed).shuffle(shuffled)
    seen: set[tuple[str, ...]] = set()
    first: list[Ranking] = []
    rest: list[Ranking] = []
    for ranking in shuffled:
        (rest if ranking.question.item.categories in seen else first).append(ranking)
        seen.add(ranking.question.item.categories)
    drawn = []
    for ranking in [*first, *rest][:EXAMPLES]:
        hits = tuple(
            ExampleHit(
                photo=photos[hit.item_id].image_path,
                title=hit.title,
                score=hit.score,
                right=hit.product_id == ranking.question.item.product_id,
            )
            for hit in ranking.hits[:HITS]
            if hit.item_id in photos
        )
        query, relevant = ranking.question.item, ranking.question.relevant
        drawn.append(Example(query.image_path, query.title, query.categories, len(relevant), hits))
    return drawn
