"""What the rows of a generation are like, by a random sample: what queries are compared with."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hasher.attributes import decoded_attributes
from hasher.rows.store import RowStore
from lookalike.wire.vectors import WIRE_DTYPE

SAMPLE_ROWS = 2048
MAX_METAS = 64
FRESH_SECONDS = 600.0
"""For how long a sample stands for the rows."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The mean vector ``(d,)`` float32 of a sample, and its rows by category of the first level."""

    row_count: int
    mean: NDArray[np.float32]
    meta_rows: Mapping[str, int]


class Profiler:
    """Samples the rows of a generation, some milliseconds of work, at most once in ten minutes.

    Args:
        store: The rows.
        clock: Monotonic seconds.
    """

    def __init__(self, store: RowStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._profile: Profile | None = None
        self._sampled_at = -FRESH_SECONDS

    def profile(self) -> Profile | None:
        """Returns what the rows are like; None: there are none."""
        with self._lock:
            if self._profile is None or self._clock() - self._sampled_at >= FRESH_SECONDS:
                self._profile, self._sampled_at = _sampled(self._store), self._clock()
            return self._profile


def _sampled(store: RowStore) -> Profile | None:
    rows = store.sample(SAMPLE_ROWS)
    if not rows:
        return None
    vectors = np.frombuffer(b"".join(vector for _, vector in rows), WIRE_DTYPE)
    mean = vectors.reshape(len(rows), -1).mean(axis=0, dtype=np.float64).astype(np.float32)
    categories = (attributes.category for attributes in decoded_attributes(item for item, _ in rows))
    metas = Counter(category[0] for category in categories if category)
    return Profile(len(rows), mean, dict(metas.most_common(MAX_METAS)))
