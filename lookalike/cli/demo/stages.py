"""The demo's stages as they pass by on the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lookalike.cli.console import note


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
    def next(self) -> Iterator[str]:
        """Runs the next stage; yields a label for its progress, such as ``[2/7]``."""
        title = self._titles[len(self.seconds)]
        label = f"[{len(self.seconds) + 1}/{len(self._titles)}]"
        start = time.monotonic()
        note(f"{label} {title} ... ({start - self._start:.0f} s since the start)")
        yield label
        self.seconds[title] = time.monotonic() - start
