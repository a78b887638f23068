"""How far probabilities can be believed: reliability, expected calibration error, and "it is not here"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 10
THRESHOLDS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, slots=True)
class Reliability:
    """Probabilities against what came true, in bins of equal weight.

    Attributes:
        predicted: ``(B,)`` float64, the mean probability of each bin, rising.
        observed: ``(B,)`` float64, the share of each bin that was right.
        weights: ``(B,)`` float64, what each bin holds of all weight.
        counts: ``(B,)`` int64, how many predictions each bin holds.
    """

    predicted: npt.NDArray[np.float64]
    observed: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of the two over all predictions.

        Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI
        2015; Guo et al., "On calibration of modern neural networks", ICML 2017. Bins hold equally much
        and are not equally wide, as most probabilities lie near 0 and 1. Chance alone makes it larger than 0,
        and the more the fewer predictions there are: only errors of as many compare.
        """
        return float(np.abs(self.predicted - self.observed) @ self.weights)

    def as_json(self) -> dict[str, list[float]]:
        """Returns the bins as ``lookalike evaluate`` writes them."""
        return {
            "predicted": self.predicted.tolist(),
            "observed": self.observed.tolist(),
            "weights": self.weights.tolist(),
            "counts": self.counts.tolist(),
        }


def reliability(
    probabilities: npt.NDArray[np.float64],
    right: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64] | None = None,
    bins: int = BINS,
) -> Reliability:
    """Compares probabilities with what came true.

    Args:
        probabilities: ``(N,)`` float64 in 0..1, N >= 1.
        right: ``(N,)`` bool.
        weights: ``(N,)`` float64 above 0; None: all count alike.
        bins: How many, at most.
    """
    order = np.argsort(probabilities, kind="stable")
    weight = np.ones(len(order)) if weights is None else weights[order]
    weight = weight / weight.sum()
    place = ((np.cumsum(weight) - weight / 2) * bins).astype(np.int64).clip(max=bins - 1)
    _, bin_of, counts = np.unique(place, return_inverse=True, return_counts=True)
    mass, predicted, observed = (
        np.bincount(bin_of, weight * values).astype(np.float64)
        for values in (1.0, probabilities[order], right[order])
    )
    return Reliability(predicted / mass, observed / mass, mass, counts.astype(np.int64))


@dataclass(frozen=True, slots=True)
class NotHere:
    """What comes of saying "this product is not here" where the best hit is less likely than a threshold.

    Attributes:
        threshold: The threshold.
        precision: The share of searches of which it was said rightly; None if it was said of none.
        recall: The share of searches for what is not there of which it was said.
        lost: The share of searches whose best hit is right, and which it was said of.
    """

    threshold: float
    precision: float | None
    recall: float
    lost: float


def not_here(
    best_present: npt.NDArray[np.float64],
    right_present: npt.NDArray[np.bool_],
    best_absent: npt.NDArray[np.float64],
    absent_share: float = 0.5,
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[NotHere]:
    """Measures "this product is not here" at some thresholds.

    Args:
        best_present: ``(P,)``, the probability of the best hit where the product is there, P >= 1.
        right_present: ``(P,)``, whether that hit is right.
        best_absent: ``(A,)``, the probability of the best hit where it is not, A >= 1.
        absent_share: How frequent the second kind of searches is, 0..1.
        thresholds: In 0..1.
    """
    found = []
    for threshold in thresholds:
        recall = float((best_absent < threshold).mean())
        rightly = absent_share * recall
        said = rightly + (1 - absent_share) * float((best_present < threshold).mean())
        of_right = best_present[right_present]
        lost = float((of_right < threshold).mean()) if len(of_right) else 0.0
        found.append(NotHere(threshold, rightly / said if said else None, recall, lost))
    return found


def match_figures(
    present: tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]],
    absent: npt.NDArray[np.float64],
    absent_share: float = 0.5,
) -> dict[str, Any]:
    """Returns the figures of the best hits as ``lookalike evaluate`` writes them under ``match``.

    Args:
        present: The best hit's probability where the product is there, ``(P,)``, and whether it is right.
        absent: The best hit's probability where it is not, ``(A,)``.
        absent_share: How frequent the second kind of searches is, 0..1; both are weighed accordingly.
    """
    best, right = present
    shares = ((best, 1 - absent_share), (absent, absent_share))
    both = reliability(
        np.concatenate([best, absent]),
        np.concatenate([right, np.zeros(len(absent), bool)]),
        np.concatenate([np.full(len(some), share / len(some)) for some, share in shares]),
    )
    return {
        "queries": len(best) + len(absent),
        "absent_share": absent_share,
        "ece": both.error,
        "reliability": both.as_json(),
        "not_here": {
            f"{one.threshold:g}": {"precision": one.precision, "recall": one.recall, "lost": one.lost}
            for one in not_here(best, right, absent, absent_share)
        },
    }
