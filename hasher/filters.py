"""What :class:`hasher.index.HashIndex` knows of items besides vectors, and what it can be asked of them.

attributes = Attributes(categories=[("Kitchen", "Mugs"), ()], values={"brand": ["Acme", None]})
index = HashIndex.build(vectors, ids, attributes=attributes)
index.search(queries, filter=Equals("brand", "Acme"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field

from lookalike.filters import Condition, Equals, Filter, In, InCategories, InCategory, Range, as_filter

__all__ = [
    "Attributes",
    "Condition",
    "Equals",
    "Filter",
    "In",
    "InCategories",
    "InCategory",
    "Range",
    "as_filter",
]


@dataclass(frozen=True, slots=True)
class Attributes:
    """Categories and attribute values of n items.

    Attributes:
        categories: n full paths from the top down, of at most 16 non-empty names; an empty one: no category.
            None: no item has a category.
        values: In columns: by attribute name, n values, each text, or None for an item without the attribute.
            Or in rows: n mappings of name to value. Numbers are given as text too, such as `"12.5"`;
            :class:`Range` compares them as numbers.
    """

    categories: Sequence[Sequence[str]] | None = None
    values: Mapping[str, Sequence[str | None]] | Sequence[Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = self._lengths()
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{what} has {length}" for what, length in lengths.items())
            raise ValueError(f"there must be one entry for each item, but {found}")

    def __len__(self) -> int:
        """How many items they are of; 0 where nothing is said of any."""
        return next(iter(self._lengths().values()), 0)

    def _lengths(self) -> dict[str, int]:
        lengths = {} if self.categories is None else {"categories": _length(self.categories, "categories")}
        if isinstance(self.values, Mapping):
            columns = {f"values[{name!r}]": column for name, column in self.values.items()}
            return lengths | {name: _length(column, name) for name, column in columns.items()}
        return lengths | {"values": _length(self.values, "values")}


def _length(entries: object, name: str) -> int:
    if isinstance(entries, str) or not isinstance(entries, Sized):
        what = "a mapping of columns or " * (name == "values")
        kind = type(entries).__name__
        raise ValueError(f"{name} must be {what}a sequence of one entry for each item, not {kind}")
    return len(entries)
