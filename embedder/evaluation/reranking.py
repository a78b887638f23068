"""k-reciprocal re-ranking of a query's first results.

Zhong, Zheng, Cao and Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.
Two photos that are among each other's nearest neighbours are likelier to show the same thing than two
of which only one is near the other, and photos of the same thing share such neighbours. Each query is
re-ranked within its own first results, so the cost does not grow with the index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CANDIDATES = 100
_VALUES_AT_ONCE = 16_000_000


@dataclass(frozen=True, slots=True)
class RerankSettings:
    """The method's parameters; the defaults are those of the eProduct challenge's second place in 2022.

    Attributes:
        k1: Size of the neighbourhoods whose members must be mutual.
        k2: Neighbours, itself included, whose encodings a photo's own is averaged with.
        original_weight: Weight (lambda) of the plain distance against the Jaccard distance, 0..1.
    """

    k1: int = 10
    k2: int = 6
    original_weight: float = 0.5


def k_reciprocal_distances(
    queries: npt.NDArray[np.float32],
    candidates: npt.NDArray[np.float32],
    settings: RerankSettings = RerankSettings(),
) -> npt.NDArray[np.float32]:
    """Returns the re-ranking distance of each query to its candidates.

    Args:
        queries: ``(Q, D)`` float32, unit norm.
        candidates: ``(Q, C, D)`` float32, unit norm: each query's own first results.
        settings: The method's parameters.

    Returns:
        ``(Q, C)`` float32 in 0..1, smaller is closer:
        ``(1 - lambda) * Jaccard distance + lambda * plain distance``.
    """
    nodes = np.concatenate([queries[:, None], candidates], axis=1)
    distances = _plain_distances(nodes)
    order = _by_distance(distances)
    places = np.argsort(order, axis=2, kind="stable")
    mutual = _mutual(places, settings.k1)
    encodings = np.where(_expanded(mutual, _mutual(places, round(settings.k1 / 2))), np.exp(-distances), 0)
    encodings /= encodings.sum(axis=2, keepdims=True)
    encodings = np.stack(
        [
            encoding[nearest].mean(axis=1)
            for encoding, nearest in zip(encodings, order[:, :, : settings.k2], strict=True)
        ]
    )
    shared = np.minimum(encodings[:, :1], encodings).sum(axis=2)[:, 1:]
    # Each encoding sums to 1, so the sum of the maxima is 2 less the sum of the minima.
    jaccard = 1 - shared / (2 - shared)
    weight = settings.original_weight
    blended: npt.NDArray[np.float32] = (1 - weight) * jaccard + weight * distances[:, 0, 1:]
    return blended.astype(np.float32)


def rerank(
    queries: npt.NDArray[np.float32],
    index: npt.NDArray[np.float32],
    positions: npt.NDArray[np.int64],
    settings: RerankSettings = RerankSettings(),
) -> npt.NDArray[np.int64]:
    """Re-orders each query's candidates.

    Args:
        queries: ``(Q, D)`` float32, unit norm.
        index: ``(N, D)`` float32, unit norm.
        positions: ``(Q, C)`` int64, each query's first results in the index, best first, all different.
        settings: The method's parameters.

    Returns:
        ``(Q, C)`` int64: the same results, closest first; equal distances keep their order.
    """
    reordered = np.empty_like(positions)
    nodes = positions.shape[1] + 1
    step = max(1, _VALUES_AT_ONCE // (nodes * max(nodes, index.shape[1])))
    for start in range(0, len(queries), step):
        part = positions[start : start + step]
        distances = k_reciprocal_distances(queries[start : start + step], index[part], settings)
        order = np.argsort(distances, axis=1, kind="stable")
        reordered[start : start + step] = np.take_along_axis(part, order, axis=1)
    return reordered


def _plain_distances(nodes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns ``(Q, n, n)`` squared Euclidean distances, each row relative to its largest."""
    distances = np.maximum(2 - 2 * (nodes @ nodes.transpose(0, 2, 1)), 0)
    diagonal = np.arange(nodes.shape[1])
    distances[:, diagonal, diagonal] = 0
    largest = distances.max(axis=2, keepdims=True)
    scaled: npt.NDArray[np.float32] = np.divide(
        distances, largest, out=np.zeros_like(distances), where=largest > 0
    )
    return scaled


def _by_distance(distances: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Returns for each photo all of them from near to far, itself first even where it has copies."""
    diagonal = np.arange(distances.shape[1])
    itself_first = distances.copy()
    itself_first[:, diagonal, diagonal] = -1
    return np.argsort(itself_first, axis=2, kind="stable")


def _mutual(places: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.bool_]:
    """Returns who is among whose ``k`` nearest in both directions; everyone with itself, at place 0."""
    return np.less_equal(np.maximum(places, places.transpose(0, 2, 1)), k)


def _expanded(mutual: npt.NDArray[np.bool_], half: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Adds to each neighbourhood those of its members' halves that lie in it by two thirds."""
    wide, narrow = mutual.astype(np.float32), half.astype(np.float32)
    overlap = wide @ narrow.transpose(0, 2, 1)
    sizes = narrow.sum(axis=2)[:, None, :]
    joining = (wide * (3 * overlap >= 2 * sizes)) @ narrow
    expanded: npt.NDArray[np.bool_] = mutual | (joining > 0)
    return expanded
