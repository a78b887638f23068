"""How far a shard has come with loading its generations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hasher.rows.store import ROWS_FILE


class LoadProgress:
    """The share of the row files, by size, whose generations are loaded. May be read from any thread."""

    def __init__(self) -> None:
        self.ratio = 0.0

    def over(self, entries: Sequence[Path]) -> Iterator[Path]:
        """Yields the entries of a data folder; one is loaded when the next is asked for."""
        sizes = [_row_bytes(entry) for entry in entries]
        loaded, total = 0, max(sum(sizes), 1)
        for entry, size in zip(entries, sizes, strict=True):
            yield entry
            loaded += size
            self.ratio = loaded / total
        self.ratio = 1.0


def _row_bytes(entry: Path) -> int:
    try:
        return (entry / ROWS_FILE).stat().st_size
    except OSError:
        return 0  # not that of a generation, or a damaged one, of which loading says so
