"""Features of the frozen backbone, computed once and kept on disk.

With a frozen backbone the features of a photo never change, so every epoch and every further run reads
them instead of encoding the photo again. They are kept photo by photo: a run that is stopped half way
loses none, and a catalogue that has grown has only its new photos encoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.bundle import Bundle
from embedder.encoder import Encoder
from embedder.photos import read_photo
from embedder.preparation import prepared_ahead
from embedder.training.augment import Augmentation
from embedder.training.copies import Copies
from embedder.training.feature_store import FeatureStore
from lookalike.errors import InvalidInputError

_BATCH = 16

Prepared = npt.NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Features:
    """Features of some photos.

    Attributes:
        values: ``(copies + 1, N, F)`` float32 of unit norm; the first copy is the photo itself, the
            others are augmented. Rows of unreadable photos are NaN.
        readable: ``(N,)`` bool.
        problems: For each unreadable photo its position and what is wrong with it.
        photo_hashes: SHA-256 of each file, in hex; empty for a file that cannot be read.
    """

    values: npt.NDArray[np.float32]
    readable: npt.NDArray[np.bool_]
    problems: dict[int, str]
    photo_hashes: list[str]


class FeatureExtractor:
    """Computes features with a backbone's bundle, through a cache.

    Args:
        bundle: The backbone as a model bundle.
        encoder: A backend that has it loaded.
        folder: Where features are kept.
        threads: Threads that decode photos while others are encoded.
    """

    def __init__(self, bundle: Bundle, encoder: Encoder, folder: Path, threads: int) -> None:
        self._bundle = bundle
        self._encoder = encoder
        self._folder = folder
        self._threads = threads

    def extract(
        self,
        photos: Sequence[Path],
        copies: int,
        augmentation: Augmentation,
        seed: int,
        on_progress: Callable[[int, int], None],
    ) -> Features:
        """Returns the features of some photos.

        Args:
            photos: The files.
            copies: Augmented copies of each.
            augmentation: How those are altered.
            seed: Of the augmentation; see :class:`embedder.training.copies.Copies`.
            on_progress: Called with the number of pictures done and their total, at first with those that
                were kept.

        Raises:
            FailedPreconditionError: The cache cannot be read or written.
        """
        hashes, problems = hash_all(photos, self._threads)
        pictures = Copies(photos, hashes, self._bundle.preprocess, augmentation, seed)
        values = np.full((copies + 1, len(photos), self._bundle.dim), np.nan, dtype=np.float32)
        jobs = [(copy, number) for copy in range(copies + 1) for number in range(len(photos))]
        keys = [self._key(pictures, number, copy) for copy, number in jobs]
        with FeatureStore(self._folder / "features.sqlite", self._bundle.dim) as store:
            lacking = []
            for job, key, kept in zip(jobs, keys, store.find(keys), strict=True):
                if kept is not None:
                    values[job] = kept
                elif job[1] not in problems:
                    lacking.append((*job, key))
            done = len(jobs) - len(lacking)
            on_progress(done, len(jobs))

            def prepare(job: tuple[int, int, bytes]) -> Prepared:
                copy, number, _ = job
                if number in problems:
                    return None
                try:
                    return pictures.prepare(number, copy)
                except InvalidInputError as error:
                    problems[number] = str(error)
                return None

            for batch, prepared in prepared_ahead(lacking, prepare, batch_size=_BATCH, threads=self._threads):
                self._encode(batch, prepared, values, store)
                done += len(batch)
                on_progress(done, len(jobs))
        readable = np.array([number not in problems for number in range(len(photos))], dtype=bool)
        values[:, ~readable] = np.nan
        return Features(values, readable, dict(sorted(problems.items())), hashes)

    def _encode(
        self,
        jobs: Sequence[tuple[int, int, bytes]],
        prepared: Sequence[Prepared],
        values: npt.NDArray[np.float32],
        store: FeatureStore,
    ) -> None:
        there = [(job, picture) for job, picture in zip(jobs, prepared, strict=True) if picture is not None]
        if not there:
            return
        encoded = self._encoder.encode(np.stack([picture for _, picture in there])).embedding
        for ((copy, number, key), _), feature in zip(there, encoded, strict=True):
            values[copy, number] = feature
            store.put(key, feature)

    def _key(self, pictures: Copies, number: int, copy: int) -> bytes:
        """Names a feature by all that decides it; the bundle's version covers weights and preprocessing."""
        return hashlib.sha256(f"{self._bundle.model_version} {pictures.name(number, copy)}".encode()).digest()


def hash_all(photos: Sequence[Path], threads: int) -> tuple[list[str], dict[int, str]]:
    """Returns each photo's SHA-256 in hex, empty where it cannot be read, and what is wrong with those.

    Args:
        photos: The files.
        threads: How many read.
    """
    problems: dict[int, str] = {}

    def content_hash(job: tuple[int, Path]) -> str:
        number, photo = job
        try:
            return hashlib.sha256(read_photo(photo)).hexdigest()
        except InvalidInputError as error:
            problems[number] = str(error)
            return ""

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(content_hash, enumerate(photos))), problems
