"""One consistent category for a photo: a whole path of the tree, and not a class for each level.

The levels of a model have a distribution each, and these may contradict each other. Here each end of the
tree is as probable as its own level finds it, and every other class as the ends below it together, so that a
parent has the sum of its children. The predicted category is the path to the most probable end.

Trees may be ragged: a path may end above the leaves. A level is trained on the photos that have a class
there, so that its distribution is that of the photos that go on to it,

    p(end) = p_l(end) * (1 - sum of p over the ends above level l)    for an end at level l

Where the levels agree, as sums up the tree of one distribution over its ends do, p is that distribution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

CategoryPath = tuple[str, ...]
"""A category with all those above it, from the top down."""
Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.intp]


class PathTree:
    """A category tree, and the paths down to its ends.

    Args:
        levels: For each level from the top down its classes, each as its full path, in the order in which
            a model gives their probabilities; the class above each one is there as well.

    Attributes:
        ends: The paths that nothing lies below, in the order of their names.
        levels: For each level the classes in the order of their names.
    """

    def __init__(self, levels: Sequence[Sequence[CategoryPath]]) -> None:
        inner = {path[:-1] for level in levels[1:] for path in level}
        self.ends: tuple[CategoryPath, ...] = tuple(
            sorted(path for level in levels for path in level if path not in inner)
        )
        self.levels: tuple[tuple[CategoryPath, ...], ...] = tuple(tuple(sorted(level)) for level in levels)
        self._number = [{path: number for number, path in enumerate(level)} for level in self.levels]
        self._end_number = {path: number for number, path in enumerate(self.ends)}
        self._ending = [self._ends_at(level) for level in levels]
        self._spans = [self._spans_of_classes(depth) for depth in range(len(levels))]

    @classmethod
    def of_ends(cls, ends: Sequence[CategoryPath]) -> PathTree:
        """Returns the tree that has these ends and what lies above them."""
        depths = range(1, 1 + max(map(len, ends), default=0))
        return cls([sorted({end[:depth] for end in ends if len(end) >= depth}) for depth in depths])

    def _ends_at(self, level: Sequence[CategoryPath]) -> tuple[Numbers, Numbers]:
        """Returns which ends lie at a level, and where a model gives their probabilities."""
        found = sorted(
            (self._end_number[path], at) for at, path in enumerate(level) if path in self._end_number
        )
        numbers, places = np.array(found, dtype=np.intp).reshape(-1, 2).T
        return numbers, places

    def _spans_of_classes(self, depth: int) -> Numbers:
        """Returns ``(2, C)``: sorted by name, the ends below a class lie side by side."""
        through = [
            (self._number[depth][end[: depth + 1]], n) for n, end in enumerate(self.ends) if len(end) > depth
        ]
        classes, numbers = np.array(through, dtype=np.intp).T
        starts = np.full(len(self.levels[depth]), len(self.ends), dtype=np.intp)
        np.minimum.at(starts, classes, numbers)
        return np.stack([starts, starts + np.bincount(classes)])

    def end_number(self, path: CategoryPath) -> int | None:
        """Returns the number of an end; None for any other path."""
        return self._end_number.get(path)

    def class_number(self, path: CategoryPath) -> int | None:
        """Returns the number of a class in its level; None for a path that is not of this tree."""
        return self._number[len(path) - 1].get(path) if 0 < len(path) <= len(self.levels) else None

    def span(self, path: CategoryPath) -> tuple[int, int]:
        """Returns the first and the last but one number of the ends below a class of this tree."""
        start, stop = self._spans[len(path) - 1][:, self._number[len(path) - 1][path]].tolist()
        return start, stop

    def posterior(self, probabilities: Sequence[npt.NDArray[np.floating]]) -> Floats:
        """Returns how probable each end is.

        Args:
            probabilities: For each level ``(B, C_l)``, rows sum to 1, in the order of ``levels`` as given.

        Returns:
            ``(B, E)`` float64 in the order of :attr:`ends`; rows sum to 1.
        """
        posterior = np.zeros((len(probabilities[0]), len(self.ends)))
        left = np.ones((len(posterior), 1))
        for (numbers, places), given in zip(self._ending, probabilities, strict=True):
            posterior[:, numbers] = left * given[:, places]
            left = np.maximum(left - posterior[:, numbers].sum(axis=1, keepdims=True), 0)
        # Rows of low precision add up to 1 roughly.
        posterior /= posterior.sum(axis=1, keepdims=True)
        return posterior

    def sums(self, posterior: npt.NDArray[np.floating]) -> list[Floats]:
        """Returns how probable each class is: the sum over the paths through it.

        Args:
            posterior: ``(..., E)``.

        Returns:
            For each level ``(..., C_l)`` float64 in the order of :attr:`levels`. A level's sum is that of
            ``posterior`` less the paths that end above.
        """
        up_to = np.zeros((*posterior.shape[:-1], len(self.ends) + 1))
        np.cumsum(posterior, axis=-1, out=up_to[..., 1:])
        return [up_to[..., stops] - up_to[..., starts] for starts, stops in self._spans]
