"""What queries are like, and what a catalogue is like, in the same few figures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from lookalike.categories.belief import Prediction
from lookalike.v1 import hasher_pb2
from lookalike.wire.vectors import WIRE_DTYPE

MEMORY = 2_000
"""Queries that a mean reaches back to: older ones fade out."""
_Vector = NDArray[np.float64]


class QueryProfile:
    """The fading mean of query vectors, and of the categories that photos are predicted to have.

    Whoever reads ``mean`` and ``shares`` meanwhile sees them as they were after one query.

    Args:
        dimension: Of the vectors.
    """

    def __init__(self, dimension: int) -> None:
        self.mean: _Vector = np.zeros(dimension)
        self.shares: Mapping[str, float] = {}
        """Category of the first level → mean probability; what no prediction has a name for is missing."""
        self.queries = 0
        self.photos = 0

    def take(self, vector_f32_le: bytes, predictions: Iterable[Prediction]) -> None:
        """Adds one query; ``predictions`` are those of a photo, or none."""
        vector = np.frombuffer(vector_f32_le, WIRE_DTYPE).astype(np.float64)
        self.queries += 1
        self.mean = self.mean + (vector / np.linalg.norm(vector) - self.mean) / min(self.queries, MEMORY)
        predicted = {
            prediction.path[0]: prediction.probability
            for prediction in predictions
            if len(prediction.path) == 1
        }
        if predicted:
            self.photos += 1
            weight = 1 / min(self.photos, MEMORY)
            shares = {name: share * (1 - weight) for name, share in self.shares.items()}
            for name, probability in predicted.items():
                shares[name] = shares.get(name, 0.0) + weight * probability
            self.shares = shares


class CatalogueProfile:
    """The mean of a catalogue's vectors, and its share of items by category of the first level.

    Args:
        parts: What each shard says of its rows; at least one has a profile.
    """

    def __init__(self, parts: Iterable[hasher_pb2.GenerationInfo]) -> None:
        total, rows = 0, defaultdict[str, float](float)
        summed: _Vector | float = 0.0
        for part in parts:
            if not part.HasField("profile"):
                continue
            count, profile = part.item_count, part.profile
            total += count
            summed = summed + count * np.frombuffer(profile.mean_f32_le, WIRE_DTYPE).astype(np.float64)
            for name, sampled in profile.meta_rows.items():
                rows[name] += sampled * count / profile.row_count
        self.mean: _Vector = np.asarray(summed) / total
        self.shares: Mapping[str, float] = {name: count / total for name, count in rows.items()}


def cosine(one: _Vector, other: _Vector) -> float:
    """Returns the cosine of two means; NaN where one of them has no direction."""
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norms if norms else math.nan


def spread(mean: _Vector) -> float:
    """Returns how far unit vectors are from their mean, as their variance: 0, all are equal, to 1."""
    return 1.0 - float(mean @ mean)


def divergence(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Returns the Jensen-Shannon divergence of two distributions in bits: 0, they are equal, to 1.

    What a distribution lacks to 1 is a category of its own.
    """
    whole_one, whole_other = _whole(one), _whole(other)
    result = 0.0
    for name in whole_one.keys() | whole_other.keys():
        p, q = whole_one.get(name, 0.0), whole_other.get(name, 0.0)
        middle = (p + q) / 2
        result += sum(part / 2 * math.log2(part / middle) for part in (p, q) if part > 0)
    return min(max(result, 0.0), 1.0)


def _whole(shares: Mapping[str, float]) -> dict[str, float]:
    return {**shares, "": max(1.0 - sum(shares.values()), 0.0)}
