"""Training rows: their labels, and batches of cached features or of freshly altered photos."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from embedder.photos import naming, read_photo
from embedder.preprocess import PreprocessParams, decode_for, to_input
from embedder.training.augment import alter, shrunk
from embedder.training.sampling import Plan, seeded
from embedder.training.titles import Attributes


class Batch(NamedTuple):
    """What a step learns from.

    Attributes:
        inputs: ``(B, F)`` features of unit norm, or ``(B, 3, H, W)`` prepared pictures; float32.
        classes: ``(B, levels)`` int64; ``MISSING`` where a row has no class.
        products: ``(B,)`` int64; ``MISSING`` for products with one photo.
        attributes: ``(B, A)`` float32, 1 where the title has the word; A may be 0.
    """

    inputs: Tensor
    classes: Tensor
    products: Tensor
    attributes: Tensor


@dataclass(frozen=True, slots=True)
class Labels:
    """The targets of all training rows, see :class:`Batch`."""

    classes: Tensor
    products: Tensor
    attributes: Attributes

    def batch(self, inputs: Tensor, rows: Tensor) -> Batch:
        """Returns a batch of some rows."""
        attributes = self.attributes.targets(rows.tolist())
        return Batch(inputs, self.classes[rows], self.products[rows], attributes)


MakeLoader = Callable[[int, int, int], "DataLoader[Batch]"]
"""Makes the loader of the steps from a first one to the last, for a rank of a number of processes."""


class _FeatureSteps(IterableDataset[Batch]):
    def __init__(self, features: Tensor, labels: Labels, plan: Plan, first: int, rank: int, ranks: int):
        self._features, self._labels, self._plan = features, labels, plan
        self._first, self._rank, self._ranks = first, rank, ranks

    def __iter__(self) -> Iterator[Batch]:
        for step in range(self._first, self._plan.total_steps):
            rows = self._plan.rows(step).tensor_split(self._ranks)[self._rank]
            random = seeded(self._plan.seed, step, self._rank)
            copies = torch.randint(len(self._features), (len(rows),), generator=random)
            yield self._labels.batch(self._features[copies, rows], rows)


def feature_loader(features: Tensor, labels: Labels, plan: Plan) -> MakeLoader:
    """Returns a maker of loaders of cached features, each row as a randomly chosen one of its copies.

    Args:
        features: ``(copies, N, F)`` float32 of unit norm.
        labels: The targets of the N rows.
        plan: Which rows each step takes.
    """

    def make(first: int, rank: int, ranks: int) -> DataLoader[Batch]:
        return DataLoader(_FeatureSteps(features, labels, plan, first, rank, ranks), batch_size=None)

    return make


class AlteredPhotos(Dataset[tuple[int, Tensor]]):
    """Photos, altered at random and prepared; asked for as ``(step, place, row)``.

    Args:
        photos: The files, all of them readable.
        params: How pictures are prepared.
        seed: Alterations follow from the seed, the step and the photo's place in its batch, so that a
            photo that is drawn several times in an epoch looks different each time.
    """

    def __init__(self, photos: Sequence[Path], params: PreprocessParams, seed: int) -> None:
        self._photos = photos
        self._params = params
        self._seed = seed

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[int, Tensor]:
        step, place, row = key
        random = np.random.default_rng([self._seed, step, place])
        other = int(random.integers(len(self._photos)))
        image = alter(self._decode(row), lambda: self._decode(other), random)
        return row, torch.from_numpy(to_input(image, self._params))

    def _decode(self, row: int) -> Image.Image:
        photo = self._photos[row]
        with naming(photo):
            return shrunk(decode_for(read_photo(photo), self._params), 2 * self._params.size)


class _PhotoSteps(Sampler[list[tuple[int, int, int]]]):
    def __init__(self, plan: Plan, first: int, rank: int, ranks: int) -> None:
        self._plan, self._first, self._rank, self._ranks = plan, first, rank, ranks

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        for step in range(self._first, self._plan.total_steps):
            rows = self._plan.rows(step)
            # Neighbours stay together: `sampler="product"` puts a product's photos side by side.
            places = torch.arange(len(rows)).tensor_split(self._ranks)[self._rank]
            yield [(step, place, int(rows[place])) for place in places.tolist()]


class _Collate:
    def __init__(self, labels: Labels) -> None:
        self._labels = labels

    def __call__(self, rows: list[tuple[int, Tensor]]) -> Batch:
        numbers = torch.tensor([number for number, _ in rows])
        return self._labels.batch(torch.stack([picture for _, picture in rows]), numbers)


def _leave_ctrl_c(worker: int) -> None:
    """Leaves Ctrl-C, which reaches all processes, to the main one: it still wants its step's pictures."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def photo_loader(photos: Dataset[tuple[int, Tensor]], labels: Labels, plan: Plan, workers: int) -> MakeLoader:
    """Returns a maker of loaders of altered photos.

    Args:
        photos: Asked for as ``(step, place, row)``: the photos, or what reaches a trained part from them.
        labels: Their targets.
        plan: Which rows each step takes.
        workers: Processes that prepare pictures.
    """

    def make(first: int, rank: int, ranks: int) -> DataLoader[Batch]:
        return DataLoader(
            photos,  # type: ignore[arg-type]
            batch_sampler=_PhotoSteps(plan, first, rank, ranks),
            collate_fn=_Collate(labels),
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            # A forked child would inherit the locks of the threads that compute.
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=_leave_ctrl_c if workers else None,
        )

    return make
