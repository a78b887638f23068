"""Labels of metrics that are taken from data, and yet few."""

from __future__ import annotations

MOST_COLLECTIONS = 8
"""Collections that are watched: the first that are searched."""
MOST_CATEGORIES = 20
OTHER = "other"
NONE = "none"


class Labels:
    """The first values that come are labels; later ones are :data:`OTHER`, and the empty one :data:`NONE`.

    Args:
        most: How many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.known: set[str] = set()

    def of(self, value: str) -> str:
        """Returns the label of a value."""
        if not value:
            return NONE
        if value not in self.known:
            if len(self.known) >= self._most:
                return OTHER
            self.known.add(value)
        return value
