"""Whitening fitted on the index: no direction of the vectors counts more because they vary more along it.

A backbone's features share much that says nothing about the product (one large common component, and
directions along which all photos vary). Whitening takes the mean away and divides each principal
direction by its deviation, so that the cosine weighs all of them alike. It needs no labels (Jégou and
Chum, "Negative evidences and co-occurrences in image retrieval", ECCV 2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lookalike.errors import InvalidInputError, Reason

SHRINKAGE = 0.9
"""Chosen among 0.03 to 1 on training photos of the Grocery Store Dataset with features of
EfficientNet-Lite0; docs/evaluation.md has the figures."""

_SMALLEST_SHARE = 1e-9
_VALUES_AT_ONCE = 16_000_000


@dataclass(frozen=True, slots=True)
class Whitening:
    """A fitted transform.

    Attributes:
        mean: ``(D,)`` float32.
        projection: ``(D, D)`` float32, symmetric: whitened vectors keep the axes they came from (ZCA).
    """

    mean: npt.NDArray[np.float32]
    projection: npt.NDArray[np.float32]

    def apply(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Whitens vectors and brings them to unit norm.

        Args:
            vectors: ``(n, D)`` float32.

        Returns:
            ``(n, D)`` float32, unit norm; a vector equal to the mean stays zero.
        """
        whitened = (vectors - self.mean) @ self.projection
        norms = np.linalg.norm(whitened, axis=1, keepdims=True)
        unit: npt.NDArray[np.float32] = np.divide(
            whitened, norms, out=np.zeros_like(whitened), where=norms > 0
        )
        return unit


def fit_whitening(vectors: npt.NDArray[np.float32], *, shrinkage: float = SHRINKAGE) -> Whitening:
    """Fits whitening on the vectors of an index.

    Without shrinkage directions that hardly vary, such as all beyond the number of vectors, would be
    blown up to the size of the others; shrinkage moves the covariance towards ``mean variance * I``.

    Args:
        vectors: ``(n, D)`` float32, n >= 2.
        shrinkage: In 0..1; 0 is full whitening, 1 only centres.

    Raises:
        InvalidInputError: Fewer than two different vectors, or a shrinkage out of range.
    """
    count, width = vectors.shape
    if not 0 <= shrinkage <= 1:
        raise InvalidInputError(
            "whitening needs a shrinkage in 0..1", reason=Reason.FIELD_OUT_OF_RANGE, field="shrinkage"
        )
    if count < 2 or (vectors == vectors[0]).all():
        raise InvalidInputError(
            "whitening must be fitted on two or more different vectors", reason=Reason.CATALOG_INVALID
        )
    mean, covariance = _moments(vectors)
    variance = float(np.trace(covariance)) / width
    variances, directions = np.linalg.eigh(covariance)
    shrunk = np.maximum((1 - shrinkage) * variances + shrinkage * variance, _SMALLEST_SHARE * variance)
    projection = directions / np.sqrt(shrunk) @ directions.T
    return Whitening(mean.astype(np.float32), projection.astype(np.float32))


def _moments(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns the mean and the covariance, in parts that fit in memory."""
    count, width = vectors.shape
    mean = vectors.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((width, width))
    step = max(1, _VALUES_AT_ONCE // width)
    for start in range(0, count, step):
        centred = vectors[start : start + step] - mean
        covariance += centred.T @ centred
    return mean, covariance / count
