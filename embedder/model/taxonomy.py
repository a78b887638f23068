"""The category tree: every category is its full path, so equal names under other parents stay apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lookalike.catalogue.catalog import LEVELS

MISSING = -1

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Classes of each level and their parents; the root's children have no parent.

    Attributes:
        paths: For each level the classes in index order, each as its full path: level ``l`` holds
            tuples of ``l + 1`` names. No levels at all: a model without categories.
        parents: For each level the index of every class's parent one level up; the first is empty.
    """

    paths: tuple[tuple[Path, ...], ...] = ()
    parents: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.parents) or len(self.paths) > len(LEVELS):
            raise ValueError("a taxonomy needs one list of parents per level")
        for level, (paths, parents) in enumerate(zip(self.paths, self.parents, strict=True)):
            if not paths or len(set(paths)) != len(paths) or any(len(path) != level + 1 for path in paths):
                raise ValueError(f"level {level} must hold one or more distinct paths of {level + 1} names")
            above = {path: i for i, path in enumerate(self.paths[level - 1])} if level else {}
            if MISSING in parents or parents != (
                tuple(above.get(path[:-1], MISSING) for path in paths) if level else ()
            ):
                raise ValueError(f"the parents of level {level} do not agree with its paths")

    @classmethod
    def from_categories(cls, categories: Iterable[Path]) -> Taxonomy:
        """Collects the tree that a catalogue's categories span.

        Args:
            categories: Paths from the root, each 0 to 3 names long (missing lower levels are allowed).

        Returns:
            The tree down to the deepest level in use, classes sorted by path, so that the order of a
            catalogue's rows changes nothing.
        """
        seen: list[set[Path]] = [set() for _ in LEVELS]
        for category in categories:
            for depth in range(1, len(category) + 1):
                seen[depth - 1].add(tuple(category[:depth]))
        paths = tuple(tuple(sorted(level)) for level in seen if level)
        index = [{path: i for i, path in enumerate(level)} for level in paths]
        parents = tuple(
            tuple(index[level - 1][path[:-1]] for path in paths[level]) if level else ()
            for level in range(len(paths))
        )
        return cls(paths, parents)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of classes of each level."""
        return tuple(len(level) for level in self.paths)

    def ends(self) -> list[Path]:
        """Returns the classes that have none below them, level by level in index order."""
        inner = {path[:-1] for level in self.paths[1:] for path in level}
        return [path for level in self.paths for path in level if path not in inner]

    def encode(self, categories: Iterable[Path]) -> list[list[int]]:
        """Returns each category's class index per level; :data:`MISSING` where it has none or is unknown."""
        index = [{path: i for i, path in enumerate(level)} for level in self.paths]
        return [
            [level.get(tuple(category[: depth + 1]), MISSING) for depth, level in enumerate(index)]
            for category in categories
        ]
