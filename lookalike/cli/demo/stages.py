"""The demo's stages as they pass by on the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lookalike.cli.console import Update, note, progress


class Stages:
    """Numbers, announces and times the stages.

    Args:
        titles: What each stage does, in their order.
    """

    def __init__(self, titles: tuple[str, ...]) -> None:
        self.seconds: dict[str, float] = {}
        self._titles = titles
        self._start = time.monotonic()

    @contextmanager
    def next(self) -> Iterator[Update]:
        """Runs the next stage; yields what its progress is reported to."""
        title = self._titles[len(self.seconds)]
        number = f"[{len(self.seconds) + 1}/{len(self._titles)}]"
        elapsed = time.monotonic() - self._start
        note(f"{number} {title} ... ({elapsed:.0f} s since the start)")
        start = time.monotonic()
        with progress(f"{number} {title}") as update:
            yield update
        self.seconds[title] = time.monotonic() - start
