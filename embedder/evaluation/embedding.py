"""Photos of a catalogue through a model bundle, without any service."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.bundle import Bundle
from embedder.encoder import Encoder
from embedder.photos import read_photo
from embedder.preparation import prepared_ahead
from embedder.preprocess import preprocess
from lookalike.categories.belief import Belief
from lookalike.categories.tree import PathTree
from lookalike.errors import InvalidInputError
from lookalike.runtime.cpus import available_cpus

_BATCH = 16


@dataclass(frozen=True, slots=True)
class Embedded:
    """What a model says about some photos.

    Attributes:
        vectors: ``(N, D)`` float32 of unit norm; rows of unreadable photos are zero.
        beliefs: By position, what the model says of the categories of those photos of which it was wanted;
            none for unreadable photos and for a model without categories.
        problems: For each unreadable photo its position and what is wrong with it.
    """

    vectors: npt.NDArray[np.float32]
    beliefs: dict[int, Belief]
    problems: dict[int, str]


def embed_photos(
    bundle: Bundle,
    encoder: Encoder,
    photos: Sequence[Path],
    on_progress: Callable[[int, int], None],
    classified: Collection[int] = (),
) -> Embedded:
    """Preprocesses and encodes photos, decoding some while others are encoded.

    Args:
        bundle: The model's description.
        encoder: A backend that has it loaded.
        photos: The files.
        on_progress: Called with the number of photos done and their total.
        classified: Positions of the photos whose categories are wanted.
    """
    vectors = np.zeros((len(photos), bundle.dim), dtype=np.float32)
    tree = PathTree(bundle.taxonomy.paths)
    beliefs: dict[int, Belief] = {}
    problems: dict[int, str] = {}

    def prepare(number: int) -> npt.NDArray[np.float32] | None:
        try:
            return preprocess(read_photo(photos[number]), bundle.preprocess)
        except InvalidInputError as error:
            problems[number] = error.message
        return None

    done, threads = 0, available_cpus()
    for batch, pictures in prepared_ahead(range(len(photos)), prepare, batch_size=_BATCH, threads=threads):
        there = [(number, one) for number, one in zip(batch, pictures, strict=True) if one is not None]
        if there:
            readable = [number for number, _ in there]
            encoded = encoder.encode(np.stack([picture for _, picture in there]))
            vectors[readable] = encoded.embedding
            if encoded.probabilities:
                of_photos = zip(readable, tree.posterior(encoded.probabilities), strict=True)
                beliefs |= {number: Belief(tree, one) for number, one in of_photos if number in classified}
        done += len(batch)
        on_progress(done, len(photos))
    return Embedded(vectors, beliefs, dict(sorted(problems.items())))
