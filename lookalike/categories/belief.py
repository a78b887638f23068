"""How probable each path of a tree is for one photo, and what is predicted of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lookalike.categories.tree import CategoryPath, Floats, PathTree

_ROUNDING = 1e-6
"""Of probabilities that were sent as float32."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A predicted category: its full path from the root (1 to 3 names) and its probability in 0..1."""

    path: CategoryPath
    probability: float


class Belief:
    """How probable the paths are that a photo's category may be.

    Args:
        tree: Of the model; without levels where there is none.
        posterior: ``(E,)`` of the tree's ends, in their order.
        others: Paths that are not of the tree and that nothing lies below, 1 to 3 names long. Together with
            ``posterior`` they add up to 1, or to 0 where nothing is known.
    """

    def __init__(
        self,
        tree: PathTree,
        posterior: npt.NDArray[np.floating],
        others: Mapping[CategoryPath, float] | None = None,
    ) -> None:
        self.tree = tree
        self.posterior = posterior
        self.others = others or {}

    @cached_property
    def category(self) -> CategoryPath:
        """The most probable path, of equals the first by name; empty where nothing is known."""
        best: tuple[float, CategoryPath] = (0.0, ())
        if len(self.posterior):
            number = int(self.posterior.argmax())
            best = -float(self.posterior[number]), self.tree.ends[number]
        return min([best, *((-probability, path) for path, probability in self.others.items())])[1]

    @property
    def depth(self) -> int:
        """How many levels there are."""
        return max(len(self.tree.levels), *map(len, self.others), 0)

    @cached_property
    def _sums(self) -> tuple[list[Floats], list[dict[CategoryPath, float]]]:
        """The probabilities of the tree's classes by level, and those of all other classes by level."""
        sums = self.tree.sums(self.posterior)
        others: list[dict[CategoryPath, float]] = [defaultdict(float) for _ in range(self.depth)]
        for path, probability in self.others.items():
            for depth in range(len(path)):
                number = self.tree.class_number(path[: depth + 1])
                if number is None:
                    others[depth][path[: depth + 1]] += probability
                else:
                    sums[depth][number] += probability
        return sums, others

    def probability(self, path: CategoryPath) -> float:
        """Returns how probable a class is: the sum over the paths through it, 0 for an unknown one."""
        if not 0 < len(path) <= self.depth:
            return 0.0
        sums, others = self._sums
        number = self.tree.class_number(path)
        if number is None:
            return others[len(path) - 1].get(path, 0.0)
        return float(sums[len(path) - 1][number])

    def along(self) -> list[Prediction]:
        """Returns the predicted category and those above it, from the top down."""
        prefixes = (self.category[:length] for length in range(1, len(self.category) + 1))
        return [Prediction(path, self.probability(path)) for path in prefixes]

    def predictions(self, k: int) -> list[Prediction]:
        """Returns the best classes of each level, levels from the top down.

        Of each level that the predicted category reaches, its class there comes first, so that the first ones
        of all levels are one path. The rest follow in falling probability, equals by name.

        Args:
            k: How many of each level at most, 1 or more.
        """
        found: list[Prediction] = []
        along = self.along()
        for depth in range(self.depth):
            level = self._largest(depth, k)
            if depth < len(along):
                first = along[depth]
                level = [first, *(one for one in level if one.path != first.path)][:k]
            found += level
        return found

    def _largest(self, depth: int, k: int) -> list[Prediction]:
        sums, others = self._sums
        found = [Prediction(path, probability) for path, probability in others[depth].items()]
        if depth < len(sums):
            values, paths = sums[depth], self.tree.levels[depth]
            candidates = np.arange(len(values))
            if k < len(values):
                # All classes at the threshold take part, so that names decide which of equals is kept.
                candidates = np.flatnonzero(values >= np.partition(values, -k)[-k])
            best = candidates[np.argsort(-values[candidates], kind="stable")[:k]]
            found += [Prediction(paths[number], float(values[number])) for number in best.tolist()]
        if others[depth]:
            found.sort(key=lambda one: (-one.probability, one.path))
        return found[:k]

    def cover(self, depth: int, mass: float, most: int) -> list[Prediction]:
        """Returns the fewest classes of a level that are together so probable, the most probable first.

        Paths that end above the level count as classes of it.

        Args:
            depth: 0 is the topmost level.
            mass: Share of the probability of all paths, 0..1.
            most: How many classes at most.

        Returns:
            Nothing where ``most`` classes are less probable, or where nothing is known.
        """
        total = float(self.posterior.sum()) + sum(self.others.values())
        ended = [
            Prediction(end, float(self.posterior[number]))
            for number, end in enumerate(self.tree.ends)
            if len(end) <= depth
        ]
        ended += [Prediction(path, one) for path, one in self.others.items() if len(path) <= depth]
        level = self._largest(depth, most) if depth < self.depth else []
        candidates = sorted(level + ended, key=lambda one: (-one.probability, one.path))[:most]
        reached = 0.0
        for count, one in enumerate(candidates, start=1):
            reached += one.probability
            if total and reached >= mass * total - _ROUNDING:
                return candidates[:count]
        return []
