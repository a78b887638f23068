"""A bound on the memory of all decoders together, counted in the pixels that they hold.

The limits of one picture bound what it may cost, but as many are decoded at the same time as there are
threads. Whoever decodes takes its pixels from a budget first, in turn, and gives them back when the picture
has become a network's input.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

DEFAULT_MEGAPIXELS = 64
"""Of the decoders of one process. A pixel takes up to 16 bytes, so at most about 1 GB."""


class WithdrawnError(Exception):
    """The picture is no longer wanted, and was not decoded."""


class PixelBudget:
    """Pixels that may be decoded at the same time, over all threads that share it; first come, first served.

    Args:
        megapixels: Their number in millions. A picture that needs more is decoded alone.
    """

    def __init__(self, megapixels: int) -> None:
        self._all = self._free = megapixels * 1_000_000
        self._waiting: deque[PixelClaim] = deque()
        self._changed = threading.Condition()

    def claim(self) -> PixelClaim:
        """Returns a claim for one picture."""
        return PixelClaim(self)

    @property
    def waiting(self) -> int:
        """Pictures that wait for their turn."""
        return len(self._waiting)

    @contextmanager
    def _held(self, claim: PixelClaim, pixels: int) -> Iterator[None]:
        pixels = min(pixels, self._all)
        with self._changed:
            self._waiting.append(claim)
            try:
                while not claim.withdrawn and (self._waiting[0] is not claim or self._free < pixels):
                    self._changed.wait()
                if claim.withdrawn:
                    raise WithdrawnError
                self._free -= pixels
            finally:
                self._waiting.remove(claim)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()

    def _withdraw(self, claim: PixelClaim) -> None:
        with self._changed:
            claim.withdrawn = True
            self._changed.notify_all()


class PixelClaim:
    """One picture's claim on a budget, which another thread may withdraw; see :meth:`PixelBudget.claim`."""

    def __init__(self, budget: PixelBudget) -> None:
        self.withdrawn = False
        self._budget = budget

    @contextmanager
    def held(self, pixels: int) -> Iterator[None]:
        """Waits for its turn and for so many free pixels, and holds them while the block runs.

        Raises:
            WithdrawnError: It was withdrawn before.
        """
        with self._budget._held(self, pixels):
            yield

    def withdraw(self) -> None:
        """Ends the wait; without effect on a picture that is being decoded already."""
        self._budget._withdraw(self)


PROCESS_BUDGET = PixelBudget(DEFAULT_MEGAPIXELS)
"""What training and evaluation decode under; the service has one of its own, by its settings."""
