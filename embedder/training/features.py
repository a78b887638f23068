"""Features of the frozen backbone, computed once and kept on disk.

With a frozen backbone the features of a photo never change, so every epoch and every further run reads
them instead of encoding the photo again. A file holds one run's features; its name is a hash over the
backbone (weights and preprocessing), the augmentation and the contents of the photos in order.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.backends.base import Encoder
from embedder.bundle import Bundle
from embedder.preprocess import decode_image, fit_square, to_tensor
from embedder.training import augment
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
    """

    values: npt.NDArray[np.float32]
    readable: npt.NDArray[np.bool_]
    problems: dict[int, str]


class FeatureExtractor:
    """Computes features with a backbone's bundle, through a cache.

    Args:
        bundle: The backbone as a model bundle.
        encoder: An engine that has it loaded.
        folder: Where features are kept.
        threads: Threads that decode photos while others are encoded.
    """

    def __init__(self, bundle: Bundle, encoder: Encoder, folder: Path, threads: int) -> None:
        self._bundle = bundle
        self._encoder = encoder
        self._folder = folder
        self._threads = threads

    def extract(
        self, photos: Sequence[Path], copies: int, seed: int, on_progress: Callable[[int, int], None]
    ) -> Features:
        """Return the features of some photos.

        Args:
            photos: The files.
            copies: Augmented copies of each.
            seed: Of the augmentation. A photo's copies depend on it and on the photo's content alone.
            on_progress: Called with the number of pictures done and their total.
        """
        total = len(photos) * (copies + 1)
        hashes, problems = _hash_all(photos)
        file = self._folder / f"{self._key(hashes, copies, seed)}.npy"
        if file.is_file() and not problems:
            on_progress(total, total)
            return Features(np.load(file), np.ones(len(photos), dtype=bool), {})
        values = np.full((copies + 1, len(photos), self._bundle.dim), np.nan, dtype=np.float32)

        def prepare(job: tuple[int, int]) -> Prepared:
            copy, number = job
            if number in problems:
                return None
            try:
                return self._prepare(photos[number], copy, [seed, copy, int(hashes[number][:16], 16)])
            except (InvalidInputError, OSError) as error:
                problems[number] = str(error)
                return None

        jobs = [(copy, number) for copy in range(copies + 1) for number in range(len(photos))]
        for done, (batch, prepared) in enumerate(self._batches(jobs, prepare), start=1):
            there = [
                (job, picture) for job, picture in zip(batch, prepared, strict=True) if picture is not None
            ]
            if there:
                encoded = self._encoder.encode(np.stack([picture for _, picture in there])).embedding
                for ((copy, number), _), feature in zip(there, encoded, strict=True):
                    values[copy, number] = feature
            on_progress(min(done * _BATCH, total), total)
        if not problems:
            _save(file, values)
        readable = np.array([number not in problems for number in range(len(photos))], dtype=bool)
        return Features(values, readable, dict(sorted(problems.items())))

    def _prepare(self, photo: Path, copy: int, seed: list[int]) -> npt.NDArray[np.float32]:
        params = self._bundle.preprocess
        image = decode_image(photo.read_bytes(), min_side=2 * params.size)
        if copy:
            image = augment.augment(image, np.random.default_rng(seed))
        return to_tensor(fit_square(image, params), params)

    def _batches(
        self, jobs: list[tuple[int, int]], prepare: Callable[[tuple[int, int]], Prepared]
    ) -> Iterator[tuple[list[tuple[int, int]], list[Prepared]]]:
        """Prepare the next batch in threads while the caller encodes the present one."""
        slices = [jobs[start : start + _BATCH] for start in range(0, len(jobs), _BATCH)]
        with ThreadPoolExecutor(self._threads) as pool:
            following = [pool.submit(prepare, job) for job in slices[0]] if slices else []
            for number, batch in enumerate(slices):
                present = following
                ahead = slices[number + 1] if number + 1 < len(slices) else []
                following = [pool.submit(prepare, job) for job in ahead]
                yield batch, [future.result() for future in present]

    def _key(self, hashes: Sequence[str], copies: int, seed: int) -> str:
        digest = hashlib.sha256(f"{self._bundle.model_version} {copies}".encode())
        if copies:
            digest.update(f" augmentation {augment.VERSION} seed {seed}".encode())
        digest.update(" ".join(hashes).encode())
        return digest.hexdigest()[:32]


def _hash_all(photos: Sequence[Path]) -> tuple[list[str], dict[int, str]]:
    hashes, problems = [], {}
    for number, photo in enumerate(photos):
        try:
            hashes.append(hashlib.sha256(photo.read_bytes()).hexdigest())
        except OSError as error:
            hashes.append("")
            problems[number] = f"The file cannot be read: {error.strerror}."
    return hashes, problems


def _save(file: Path, values: npt.NDArray[np.float32]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".tmp", delete=False) as handle:
        np.save(handle, values)
    os.replace(handle.name, file)
