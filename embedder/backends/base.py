"""What every inference engine offers the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Encoded:
    """One batch's results.

    Attributes:
        embedding: ``(B, D)`` float32, C-contiguous, rows of unit norm.
        probabilities: For each level from the root down ``(B, C_l)`` float32, rows sum to 1. Empty for
            a model without categories.
    """

    embedding: npt.NDArray[np.float32]
    probabilities: tuple[npt.NDArray[np.float32], ...] = ()


class Encoder(Protocol):
    """An inference engine that has one model loaded. Safe to call from several threads."""

    def encode(self, images: npt.NDArray[np.float32]) -> Encoded:
        """Encode prepared pictures.

        Args:
            images: ``(B, 3, H, W)`` float32 as :func:`embedder.preprocess.preprocess` makes them, B >= 1.

        Raises:
            InvalidInputError: The shape or dtype is not the model's.
        """
        ...
