"""Ways to make probabilities of scores, each fitted to searches and asked of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from embedder.evaluation.calibration import fit_calibration
from embedder.evaluation.products import ProductRankings, joined
from lookalike.matching import DEPTH

__all__ = ["FORMS", "Form"]

_Values = npt.NDArray[np.float64]
Predict = Callable[[_Values], _Values]
"""From scores ``(Q, DEPTH)`` to probabilities ``(Q, DEPTH)``."""
Form = Callable[[ProductRankings, ProductRankings], Predict]
"""Fitted to searches for what is there, and for what is not, DEPTH deep."""

_WEAK = 1e4
"""The inverse of a regularisation that does nothing."""


def _hits(present: ProductRankings, absent: ProductRankings) -> tuple[_Values, npt.NDArray[np.bool_]]:
    both = joined([present, absent])
    return both.scores.astype(np.float64), np.arange(DEPTH)[None] == both.right[:, None]


def isotonic(present: ProductRankings, absent: ProductRankings) -> Predict:
    scores, right = _hits(present, absent)
    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores.ravel(), right.ravel())
    return lambda scores: np.asarray(model.predict(scores.ravel())).reshape(scores.shape)


def logistic(*names: str) -> Form:
    """Of the score, the margin to the best other product, and the density: every hit for itself."""

    def features(scores: _Values) -> _Values:
        others = np.where(np.arange(DEPTH)[None] == 0, scores[:, 1:2], scores[:, :1])
        density = np.broadcast_to(scores[:, 1:].mean(axis=1, keepdims=True), scores.shape)
        known = {"score": scores, "margin": scores - others, "density": density}
        return np.stack([known[name] for name in names], axis=-1).reshape(-1, len(names))

    def fit(present: ProductRankings, absent: ProductRankings) -> Predict:
        scores, right = _hits(present, absent)
        model = LogisticRegression(C=_WEAK, max_iter=5000).fit(features(scores), right.ravel())
        return lambda scores: np.asarray(model.predict_proba(features(scores)))[:, 1].reshape(scores.shape)

    return fit


def conditional_logit(present: ProductRankings, absent: ProductRankings) -> Predict:
    calibration = fit_calibration(present, absent)
    return lambda scores: calibration.probabilities(scores.astype(np.float32))


FORMS: Mapping[str, Form] = {
    "isotonic on the score": isotonic,
    "Platt: logistic on the score": logistic("score"),
    "logistic on score and margin": logistic("score", "margin"),
    "logistic on score, margin and density": logistic("score", "margin", "density"),
    "conditional logit with density": conditional_logit,
}
