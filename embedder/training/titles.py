"""Pseudo-attributes: the words of titles that recur, as labels that nobody has to make.

They are needed in training only; a query is pixels alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_COMMONEST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Attributes:
    """Which row has which attribute.

    Attributes:
        names: The attributes, in index order.
        rows: For each row the sorted indices of its attributes.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]

    def targets(self, rows: Iterable[int]) -> Tensor:
        """Returns ``(B, A)`` float32, 1 where a row has the attribute, else 0."""
        numbers = list(rows)
        found = torch.zeros(len(numbers), len(self.names))
        for place, row in enumerate(numbers):
            found[place, list(self.rows[row])] = 1
        return found


def mine_attributes(titles: Sequence[str], *, min_count: int = 10, limit: int = 1000) -> Attributes:
    """Collects the words that distinguish titles.

    Args:
        titles: One per row; may be empty.
        min_count: Rows that a word must occur in. Words in more than half of the rows that have a title
            say nothing and are left out, and so are words of one letter and plain numbers.
        limit: Number of attributes, the most frequent first.
    """
    words = [{word for word in _WORD.findall(title.casefold()) if _tells(word)} for title in titles]
    counts = Counter(word for row in words for word in row)
    commonest = max(min_count, _COMMONEST_SHARE * sum(map(bool, words)))
    wanted = sorted(
        (word for word, count in counts.items() if min_count <= count <= commonest),
        key=lambda word: (-counts[word], word),
    )[:limit]
    number = {word: place for place, word in enumerate(wanted)}
    rows = tuple(tuple(sorted(number[word] for word in row if word in number)) for row in words)
    return Attributes(tuple(wanted), rows)


def _tells(word: str) -> bool:
    return len(word) > 1 and not word.isdecimal()
