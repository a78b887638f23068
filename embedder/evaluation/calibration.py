"""Fits what makes probabilities of scores, to searches whose right product is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embedder.evaluation.products import ProductRankings, joined
from embedder.evaluation.search import NOBODY
from lookalike.errors import InvalidInputError, Reason
from lookalike.matching import DEPTH, MatchCalibration

ABSENT_SHARE = 0.5
"""Where nothing better is known: as many searches for what is not there as for what is."""
LEAST_SEARCHES = 20
"""Of those that find the right product, and of those that do not: fewer say nothing of a slope."""
FOLDS = 5
_PRIOR_DEVIATION = 100.0
"""Of the coefficients: keeps them finite where no wrong product scores as high as a right one."""
_MOST_STEPS, _TOLERANCE = 100, 1e-10
_FLATTEST, _STEEPEST, _LARGEST = 0.01, 1000.0, 10.0

_Values = npt.NDArray[np.float64]


def fit_calibration(
    present: ProductRankings, absent: ProductRankings, absent_share: float = ABSENT_SHARE
) -> MatchCalibration:
    """Fits a calibration by maximum likelihood.

    Args:
        present: Searches for products that are there; the first DEPTH products count.
        absent: Searches for products that are not.
        absent_share: How frequent the second will be, 0..1; both are weighed accordingly.

    Raises:
        InvalidInputError: Too few searches find the right product, or too few do not; or right products score
            no higher than wrong ones (``CATALOG_INVALID``).
    """
    _check_enough(joined([present.first(DEPTH), absent.first(DEPTH)]))
    return _fitted(present, absent, absent_share)


def _fitted(present: ProductRankings, absent: ProductRankings, absent_share: float) -> MatchCalibration:
    searches = joined([present.first(DEPTH), absent.first(DEPTH)])
    weights = np.concatenate(
        [
            np.full(len(rankings.right), share / max(1, len(rankings.right)))
            for rankings, share in ((present, 1 - absent_share), (absent, absent_share))
        ]
    )
    densities = _densities(searches.scores)
    typical = float(np.nanmean(densities)) if np.isfinite(densities).any() else 0.0
    densities = np.where(np.isnan(densities), typical, densities)
    features = _features(searches.scores, np.stack([np.ones_like(densities), densities], axis=1))
    chosen = np.where(searches.right == NOBODY, DEPTH, searches.right)
    weights *= len(weights) / weights.sum()
    slope, constant, weight = _maximised(features, chosen, weights)
    if abs(weight) > slope:  # no more than a calibration may have
        sign = np.sign(weight)
        merged = np.stack([features[..., 0] + sign * features[..., 2], features[..., 1]], axis=-1)
        slope, constant = _maximised(merged, chosen, weights)
        weight = sign * slope
    if slope < _FLATTEST:
        raise InvalidInputError(
            "the scores do not tell right products from wrong ones, so that they cannot be calibrated",
            reason=Reason.CATALOG_INVALID,
        )
    return MatchCalibration(
        slope=min(slope, _STEEPEST),
        threshold=float(np.clip(constant / slope, -_LARGEST, _LARGEST)),
        density_weight=float(np.clip(weight / slope, -1.0, 1.0)),
        density=typical,
        fitted_searches=len(chosen),
        absent_share=absent_share,
    )


def best_hits(
    calibration: MatchCalibration, rankings: ProductRankings
) -> tuple[_Values, npt.NDArray[np.bool_]]:
    """Returns the probability of each search's best hit, ``(Q,)``, and whether that is right, ``(Q,)``."""
    return calibration.probabilities(rankings.first(DEPTH).scores)[:, 0], rankings.right == 0


def held_out_best_hits(
    present: ProductRankings,
    absent: ProductRankings,
    folds: tuple[Sequence[int], Sequence[int]],
    absent_share: float = ABSENT_SHARE,
) -> tuple[tuple[_Values, npt.NDArray[np.bool_]], _Values]:
    """Returns probabilities by calibrations that were fitted to the searches of the other folds.

    Args:
        present: Searches for products that are there.
        absent: Searches for products that are not.
        folds: The fold of each of the first, and of the second.
        absent_share: As for :func:`fit_calibration`.

    Returns:
        The probabilities of the best hits of ``present`` and whether these are right, and those of
        ``absent``: what :func:`.match_figures` takes.

    Raises:
        InvalidInputError: As :func:`fit_calibration`.
    """
    _check_enough(joined([present.first(DEPTH), absent.first(DEPTH)]))
    of_present, of_absent = (np.asarray(one) for one in folds)
    best, right = np.empty(len(of_present)), np.empty(len(of_present), bool)
    gone = np.empty(len(of_absent))
    for fold in np.union1d(of_present, of_absent):
        ours = [np.flatnonzero(one == fold) for one in (of_present, of_absent)]
        others = [np.flatnonzero(one != fold) for one in (of_present, of_absent)]
        calibration = _fitted(present.some(others[0]), absent.some(others[1]), absent_share)
        best[ours[0]], right[ours[0]] = best_hits(calibration, present.some(ours[0]))
        gone[ours[1]], _ = best_hits(calibration, absent.some(ours[1]))
    return (best, right), gone


def _check_enough(searches: ProductRankings) -> None:
    found = int((searches.right != NOBODY).sum())
    if min(found, len(searches.right) - found) < LEAST_SEARCHES:
        raise InvalidInputError(
            f"a calibration needs {LEAST_SEARCHES} searches that find the right product and {LEAST_SEARCHES}"
            f" that do not; there are {found} and {len(searches.right) - found}",
            reason=Reason.CATALOG_INVALID,
        )


def _densities(scores: npt.NDArray[np.float32]) -> _Values:
    """Returns the mean score of the products at ranks 2 to DEPTH, ``(Q,)``; NaN where there are none."""
    others = np.where(np.isfinite(scores[:, 1:]), scores[:, 1:], np.nan).astype(np.float64)
    counts = np.isfinite(others).sum(axis=1)
    return np.where(counts > 0, np.nansum(others, axis=1) / np.maximum(counts, 1), np.nan)


def _features(scores: npt.NDArray[np.float32], of_none: _Values) -> _Values:
    """Returns what the utilities are linear in, ``(Q, DEPTH + 1, 1 + F)``; NaN where there is no product.

    A product's is its score; the last alternative, "none of these", has ``of_none`` ``(Q, F)``.
    """
    features = np.zeros((len(scores), DEPTH + 1, 1 + of_none.shape[1]))
    features[:, : scores.shape[1], 0] = np.where(np.isfinite(scores), scores, np.nan)
    features[:, scores.shape[1] : DEPTH, 0] = np.nan
    features[:, DEPTH, 1:] = of_none
    return features


def _maximised(features: _Values, chosen: npt.NDArray[np.int64], weights: _Values) -> list[float]:
    """Returns the coefficients of a conditional logit, whose likelihood is concave, by Newton's method."""
    there = np.asarray(~np.isnan(features).any(axis=2))
    known = np.where(there[..., None], features, 0.0)
    taken = known[np.arange(len(chosen)), chosen]
    precision = np.eye(features.shape[2]) / _PRIOR_DEVIATION**2

    def likelihood(at: _Values) -> tuple[float, _Values]:
        utilities = np.where(there, known @ at, -np.inf)
        top = utilities.max(axis=1, keepdims=True)
        powers = np.exp(utilities - top)
        sums = powers.sum(axis=1)
        gained = taken @ at - top[:, 0] - np.log(sums)
        return float(weights @ gained - at @ precision @ at / 2), powers / sums[:, None]

    at = np.zeros(features.shape[2])
    value, shares = likelihood(at)
    for _ in range(_MOST_STEPS):
        means = np.einsum("qa,qaf->qf", shares, known)
        gradient = weights @ (taken - means) - precision @ at
        curvature = np.einsum("q,qa,qaf,qag->fg", weights, shares, known, known)
        curvature += precision - np.einsum("q,qf,qg->fg", weights, means, means)
        step = np.linalg.solve(curvature, gradient)
        before = value
        value, shares = likelihood(at + step)
        while value < before and np.abs(step).max() > _TOLERANCE:
            step /= 2
            value, shares = likelihood(at + step)
        at = at + step
        if value - before <= _TOLERANCE * abs(before):
            break
    return [float(one) for one in at]
