"""What it costs to encode a photo, in images per second of one CPU core."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle
from embedder.photos import read_photo
from embedder.preprocess import preprocess

__all__ = ["images_per_cpu_second"]

_ROUNDS = 4


def images_per_cpu_second(bundle: Bundle, photos: Sequence[Path]) -> dict[str, float]:
    """Returns the rate of the ``network`` alone, a photo at a time, and of ``all``: with decoding too.

    The processor's time counts, not the clock's, and the best of some rounds: what else runs on the machine
    changes it less.

    Args:
        bundle: The model.
        photos: Some photos to encode.
    """
    encoder = OnnxEncoder(bundle, threads=1)
    data = [read_photo(photo) for photo in photos]
    pictures = [preprocess(one, bundle.preprocess) for one in data]

    def prepare() -> None:
        for one in data:
            preprocess(one, bundle.preprocess)

    def encode() -> None:
        for picture in pictures:
            encoder.encode(picture[np.newaxis])

    prepared, encoded = _best(prepare), _best(encode)
    return {"network": len(photos) / encoded, "all": len(photos) / (prepared + encoded)}


def _best(work: Callable[[], None]) -> float:
    work()
    seconds = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)
