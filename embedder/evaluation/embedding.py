"""Photos of a catalogue through a model bundle, without any service."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.backends.base import Encoder
from embedder.bundle import Bundle
from embedder.preprocess import preprocess
from lookalike.errors import InvalidInputError

_BATCH = 16

Prepared = npt.NDArray[np.float32] | str
"""A photo as the network's input, or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """What a model says about some photos.

    Attributes:
        vectors: ``(N, D)`` float32 of unit norm; rows of unreadable photos are zero.
        classes: For each level of the model ``(N,)`` int64, the index of the most probable category; the
            first of equals. Without meaning for unreadable photos.
        problems: For each unreadable photo its position and what is wrong with it.
    """

    vectors: npt.NDArray[np.float32]
    classes: tuple[npt.NDArray[np.int64], ...]
    problems: dict[int, str]


def embed_photos(
    bundle: Bundle, encoder: Encoder, photos: Sequence[Path], on_progress: Callable[[int, int], None]
) -> Embedded:
    """Preprocess and encode photos, decoding some while others are encoded.

    Args:
        bundle: The model's description.
        encoder: An engine that has it loaded.
        photos: The files.
        on_progress: Called with the number of photos done and their total.
    """
    vectors = np.zeros((len(photos), bundle.dim), dtype=np.float32)
    classes = tuple(np.zeros(len(photos), dtype=np.int64) for _ in bundle.levels)
    problems: dict[int, str] = {}
    for start, batch in _batches(bundle, photos):
        readable = []
        for number, prepared in enumerate(batch, start=start):
            if isinstance(prepared, str):
                problems[number] = prepared
            else:
                readable.append(number)
        if readable:
            images = np.stack([picture for picture in batch if not isinstance(picture, str)])
            encoded = encoder.encode(images)
            vectors[readable] = encoded.embedding
            for level, probabilities in zip(classes, encoded.probabilities, strict=True):
                level[readable] = probabilities.argmax(axis=1)
        on_progress(start + len(batch), len(photos))
    return Embedded(vectors, classes, problems)


def _batches(bundle: Bundle, photos: Sequence[Path]) -> Iterator[tuple[int, list[Prepared]]]:
    """Yield batches with the position of their first photo; threads prepare the one after the present."""

    def prepare(photo: Path) -> Prepared:
        try:
            return preprocess(photo.read_bytes(), bundle.preprocess)
        except InvalidInputError as error:
            return error.message
        except OSError as error:
            return f"the file cannot be read: {error.strerror}"

    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="preprocess") as pool:
        following = [pool.submit(prepare, photo) for photo in photos[:_BATCH]]
        for start in range(0, len(photos), _BATCH):
            present = following
            ahead = photos[start + _BATCH : start + 2 * _BATCH]
            following = [pool.submit(prepare, photo) for photo in ahead]
            yield start, [future.result() for future in present]
