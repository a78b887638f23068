"""Which rows each training step takes: a function of the seed and the step's number alone.

Nothing is drawn from a generator that lives on from step to step, so training that resumes at step
``n`` needs no more than ``n`` to go on as if it had never stopped.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from embedder.model.taxonomy import MISSING

_FEWEST_BATCHES = 10
_SMALLEST_BATCH = 8


def seeded(seed: int, *numbers: int) -> torch.Generator:
    """Returns a generator for one purpose: other ``numbers`` give unrelated values."""
    mixed = seed & 0xFFFF_FFFF
    for number in numbers:
        mixed = (mixed * 6_364_136_223_846_793_005 + number + 1_442_695_040_888_963_407) & (2**63 - 1)
        mixed ^= mixed >> 29
    return torch.Generator().manual_seed(mixed)


class Plan:
    """The steps of a training run.

    Args:
        classes: ``(N, levels)`` int64; ``MISSING`` where a row has no class.
        products: ``(N,)`` int64; ``MISSING`` for products with one photo.
        sampler: See :class:`embedder.training.config.TrainConfig`.
        batch_size: Rows per step; on few rows fewer, so that an epoch has enough steps.
        photos_per_product: K of the P x K batches.
        epochs: Passes over the rows.
        seed: Of the order.
    """

    def __init__(
        self,
        classes: Tensor,
        products: Tensor,
        *,
        sampler: Literal["shuffle", "class", "product"],
        batch_size: int,
        photos_per_product: int,
        epochs: int,
        seed: int,
    ) -> None:
        rows = len(products)
        self.steps_per_epoch = max(
            1, min(rows // _SMALLEST_BATCH, max(_FEWEST_BATCHES, round(rows / batch_size)))
        )
        self.total_steps = epochs * self.steps_per_epoch
        self.seed = seed
        self._classes = classes
        self._products = products
        self._sampler = sampler
        self._per_product = photos_per_product
        self._epoch = -1
        self._batches: tuple[Tensor, ...] = ()

    def rows(self, step: int) -> Tensor:
        """Returns the rows of a step, counted from 0 over all epochs: ``(B,)`` int64."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            order = self._order(seeded(self.seed, epoch))
            self._epoch, self._batches = epoch, order.tensor_split(self.steps_per_epoch)
        return self._batches[batch]

    def _order(self, random: torch.Generator) -> Tensor:
        rows = len(self._products)
        if self._sampler == "class" and self._classes.shape[1]:
            _, deepest, counts = torch.unique(self._classes, dim=0, return_inverse=True, return_counts=True)
            return torch.multinomial(1 / counts[deepest].float(), rows, replacement=True, generator=random)
        order = torch.randperm(rows, generator=random)
        if self._sampler != "product":
            return order
        return torch.cat(self._by_product(order, random))

    def _by_product(self, order: Tensor, random: torch.Generator) -> list[Tensor]:
        """Cuts a random order into groups of K rows of one product, the groups in random order."""
        products = self._products[order]
        keys = torch.where(products == MISSING, products.amax() + 1 + order, products)
        order = order[torch.argsort(keys, stable=True)]
        _, counts = torch.unique(keys, return_counts=True)
        groups = [
            group
            for rows in order.tensor_split(counts.cumsum(0)[:-1])
            for group in _pieces(rows, self._per_product)
        ]
        return [groups[number] for number in torch.randperm(len(groups), generator=random).tolist()]


def _pieces(rows: Tensor, size: int) -> list[Tensor]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
