"""What reaches the trained part of a backbone, computed once for every copy of a photo and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from embedder.preparation import prepared_ahead
from embedder.training.copies import Copies
from embedder.training.feature_store import Feature, FeatureStore
from embedder.training.upper import Upper
from lookalike.errors import FailedPreconditionError, Reason

_BATCH = 32
_LARGEST = float(np.finfo(np.float16).max)

Report = Callable[[int, int], None]
"""Called with the number of pictures done and their total."""


class Activations:
    """Activations of photos and of altered copies of them, kept in half precision.

    Args:
        file: Where they are kept.
        pictures: The photos.
        upper: The backbone, parted.
        identity: Of the backbone's weights and preprocessing.
    """

    def __init__(self, file: Path, pictures: Copies, upper: Upper, identity: str) -> None:
        self._file = file
        self._pictures = pictures
        self._identity = f"{identity} {upper.cut}"
        self._shape: tuple[int, ...] = tuple(upper.reached(upper.blank).shape[1:])

    def fill(self, upper: Upper, copies: range, threads: int, report: Report) -> None:
        """Computes what is not there yet.

        Args:
            upper: The backbone, parted.
            copies: Which of each photo; 0 is the photo itself.
            threads: How many prepare pictures.
            report: See :data:`Report`.

        Raises:
            FailedPreconditionError: The file cannot be read or written.
            InvalidInputError: A photo cannot be read any more, or has changed.
        """
        jobs = [(row, copy, self._key(row, copy)) for copy in copies for row in range(len(self._pictures))]
        with self._store() as store:
            lacking = [job for job in jobs if not store.has(job[2])]
            done = len(jobs) - len(lacking)
            report(done, len(jobs))

            def prepare(job: tuple[int, int, bytes]) -> Feature:
                return self._pictures.prepare(job[0], job[1])

            for batch, prepared in prepared_ahead(lacking, prepare, batch_size=_BATCH, threads=threads):
                pictures = torch.from_numpy(np.stack(prepared)).to(upper.blank.device)
                reached = upper.reached(pictures.contiguous(memory_format=torch.channels_last))
                kept = reached.float().clamp(-_LARGEST, _LARGEST).flatten(1).cpu().numpy()
                for (_, _, key), values in zip(batch, kept, strict=True):
                    store.put(key, values)
                done += len(batch)
                report(done, len(jobs))

    @torch.no_grad()
    def features(self, network: nn.Module) -> Tensor:
        """Returns the unit-norm features ``(N, F)`` that a trained part makes of the photos."""
        device = next(network.parameters()).device
        found = []
        for start in range(0, len(self._pictures), _BATCH):
            rows = range(start, min(start + _BATCH, len(self._pictures)))
            reached = torch.stack(self.read([(row, 0) for row in rows])).to(device)
            found.append(functional.normalize(network(reached).float(), dim=-1))
        return torch.cat(found)

    def read(self, jobs: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Returns the activations of rows and copies, float32.

        Raises:
            FailedPreconditionError: The file cannot be read, or lacks what was filled in.
        """
        with self._store() as store:
            found = store.find([self._key(row, copy) for row, copy in jobs])
        return [torch.from_numpy(one.astype(np.float32)).reshape(self._shape) for one in self._whole(found)]

    def _whole(self, found: Sequence[Feature | None]) -> Iterator[Feature]:
        for one in found:
            if one is None:
                raise FailedPreconditionError(
                    f"{self._file} was deleted or damaged while training read it; start again",
                    reason=Reason.CONFIG_INVALID,
                )
            yield one

    def _store(self) -> FeatureStore:
        return FeatureStore(self._file, int(np.prod(self._shape)), "<f2")

    def _key(self, row: int, copy: int) -> bytes:
        return hashlib.sha256(f"{self._identity} {self._pictures.name(row, copy)}".encode()).digest()


class AlteredActivations(Dataset[tuple[int, Tensor]]):
    """Activations of photos' altered copies, asked for as ``(step, place, row)``.

    Args:
        activations: Filled with the copies.
        copies: How many altered ones each photo has.
        seed: The copy that is taken follows from it, the step and the place in the batch.
    """

    def __init__(self, activations: Activations, copies: int, seed: int) -> None:
        self._activations = activations
        self._copies = copies
        self._seed = seed

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[int, Tensor]:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[tuple[int, int, int]]) -> list[tuple[int, Tensor]]:
        """Returns the rows of a batch, which are read at once."""
        jobs = []
        for step, place, row in keys:
            random = np.random.default_rng([self._seed, step, place])
            jobs.append((row, 1 + int(random.integers(self._copies))))
        rows = [row for row, _ in jobs]
        return list(zip(rows, self._activations.read(jobs), strict=True))
