"""Probabilities that hits are the product that was searched for.

The ten best products of a search compete with each other and with "none of these" in a conditional logit
(McFadden, "Conditional logit analysis of qualitative choice behavior", 1974), whose utilities are linear in
the scores. A product's probability therefore rises with its own score and falls with those of the others, and
all together never exceed 1. The utility of "none of these" rises with the density around the query, so that
the same score says less in a crowded part of a catalogue.

``native/serve/src/fanout/matching.rs`` computes the same for served searches.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import ClassVar, Final, Self

import numpy as np
import numpy.typing as npt

from lookalike.errors import InvalidInputError, Reason
from lookalike.files.kept_json import kept_values
from lookalike.v1 import types_pb2

DEPTH: Final = 10
"""Products that compete."""
_VERSION_HEX_DIGITS = 16
_RANGES: Final = {
    "slope": (0.0, 1000.0),
    "threshold": (-10.0, 10.0),
    "density_weight": (-1.0, 1.0),
    "density": (-1.0, 1.0),
    "fitted_searches": (0, 2**53),
    "absent_share": (0.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class MatchCalibration:
    """What turns the scores of a search into probabilities.

    Within the ranges a probability never falls when its own score rises, whatever the rest.

    Attributes:
        slope: Per unit of cosine similarity; above 0, at most 1000.
        threshold: The score at which a lone hit of density 0 is as likely right as not; -10..10.
        density_weight: How much of the density around a query adds to the threshold; -1..1.
        density: The mean density of the searches that it was fitted to, which stands for that of a search
            that found a single product; -1..1.
        fitted_searches: How many searches those were.
        absent_share: The share of them whose product was not there; 0..1.

    Raises:
        ValueError: A number is not finite, or outside its range.
    """

    slope: float
    threshold: float
    density_weight: float
    density: float
    fitted_searches: int = 0
    absent_share: float = 0.5

    # A coefficient of a later version must not be passed over.
    __pydantic_config__: ClassVar = {"extra": "forbid"}  # pydantic's ConfigDict, not imported here

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            # A comparison with NaN is false.
            if not low <= getattr(self, name) <= high or (name == "slope" and self.slope == 0):
                bounds = "above 0 and at most 1000" if name == "slope" else f"{low:g} to {high:g}"
                raise ValueError(f"{name} must be {bounds}")

    @property
    def version(self) -> str:
        """Names the calibration by a hash of its numbers."""
        content = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:_VERSION_HEX_DIGITS]

    @property
    def coefficients(self) -> tuple[float, float, float, float]:
        """Slope, threshold, weight of the density, and mean density, as the extension takes them."""
        return self.slope, self.threshold, self.density_weight, self.density

    @classmethod
    def from_message(cls, message: types_pb2.MatchCalibration, field: str) -> Self:
        """Reads a calibration.

        Args:
            message: As it was received; its ``version`` and ``model_version`` are not looked at.
            field: Path of the message in its request, for errors.

        Raises:
            InvalidInputError: A number is not finite, or outside its range.
        """
        try:
            return cls(**{one.name: getattr(message, one.name) for one in fields(cls)})
        except ValueError as error:
            name = str(error).partition(" ")[0]
            raise InvalidInputError(
                f"{field}.{error}", reason=Reason.FIELD_OUT_OF_RANGE, field=f"{field}.{name}"
            ) from None

    def to_message(self, model_version: str) -> types_pb2.MatchCalibration:
        """Returns the calibration as a message, for the scores of a model."""
        return types_pb2.MatchCalibration(**asdict(self), model_version=model_version, version=self.version)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Returns a calibration that was kept as text.

        Raises:
            FailedPreconditionError: A newer version kept it (``CONFIG_INVALID``).
            TypeError, ValueError: The text is not a calibration.
        """
        return cls(**kept_values(text, cls, "a calibration"))

    def to_json(self) -> str:
        """Returns the calibration as text, to be kept."""
        return json.dumps(asdict(self))

    def probabilities(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Returns the probability of each product that a search found.

        Args:
            scores: ``(Q, n)`` float32, of each search the score of each product's best item, falling;
                ``-inf`` where a search has fewer.

        Returns:
            ``(Q, n)`` in 0..1; 0 where there is no product.
        """
        exact = scores.astype(np.float64)
        first = self._of_list(exact[:, :DEPTH])
        # Each further product with the nine best ones.
        further = [
            self._of_list(np.concatenate([exact[:, : DEPTH - 1], exact[:, place, None]], axis=1))[:, -1:]
            for place in range(DEPTH, exact.shape[1])
        ]
        return np.concatenate([first, *further], axis=1)

    def _of_list(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        there = np.isfinite(scores)
        counts = there[:, 1:].sum(axis=1)
        sums = np.where(there[:, 1:], scores[:, 1:], 0.0).sum(axis=1)
        density = np.where(counts > 0, sums / np.maximum(counts, 1), self.density)
        none = self.slope * (self.threshold + self.density_weight * density)
        utilities = np.concatenate([self.slope * scores, none[:, None]], axis=1)
        powers = np.exp(utilities - utilities.max(axis=1, keepdims=True))
        shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return shares[:, :-1]
