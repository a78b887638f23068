"""How much of the backbone's own directions an embedding keeps, so that it finds products no worse than it.

A head learns from a catalogue's products which directions tell products apart. Where it learns that badly, as
from few products or from photos of one side of each, products that it has not seen are found worse than by
the plain backbone. That shows before the model is made: heads trained on a part of the products are asked
for the others.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from embedder.evaluation.search import nearest
from embedder.model.heads import EmbeddingHead
from embedder.model.taxonomy import MISSING

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)
"""What is tried, in this order."""
_FOLDS = 2
_FEWEST_ASKED = 30
_MOST_ROWS = 16_384

Train = Callable[[Tensor], EmbeddingHead]
"""Trains a head on the rows of some numbers ``(N,)`` int64, in evaluation mode."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """What was found, as R@1 of photos of held-out products among all photos.

    Attributes:
        share: The least share with which that is not below the backbone's by more than chance, else the best.
        backbone: That of the plain backbone.
        recalls: That of each share that was tried.
        asked: How many photos were asked for.
    """

    share: float
    backbone: float
    recalls: dict[float, float]
    asked: int


def guarded_share(features: Tensor, products: Tensor, train: Train, seed: int) -> Guarded | None:
    """Chooses the share by products that a head has not seen, each fold of them held out once.

    Args:
        features: ``(N, F)`` float32 of unit norm: the unaltered photos.
        products: ``(N,)`` int64; ``MISSING`` for products with one photo.
        train: See :data:`Train`.
        seed: Of the folds.

    Returns:
        None where too few photos show a product that another one shows.
    """
    drawn = np.array([_drawn(product, row, seed) for row, product in enumerate(products.tolist())])
    used = np.flatnonzero(drawn * len(drawn) < _MOST_ROWS)
    folds = (_FOLDS * drawn[used] / drawn[used].max(initial=1e-9) * (1 - 1e-9)).astype(int)
    numbers, kept = products.numpy()[used], features[torch.from_numpy(used)]
    asked = [np.flatnonzero((folds == fold) & (numbers != MISSING)) for fold in range(_FOLDS)]
    if min(map(len, asked)) < _FEWEST_ASKED:
        return None
    heads = [train(torch.from_numpy(used[folds != fold])) for fold in range(_FOLDS)]
    backbone = _first_hits([kept.numpy()] * _FOLDS, numbers, asked)
    recalls: dict[float, float] = {}
    for share in SHARES:
        right = _first_hits([_embedded(head, kept, share) for head in heads], numbers, asked)
        recalls[share] = float(right.mean())
        if not _is_worse(right, backbone):
            best = share
            break
    else:
        best = max(recalls, key=lambda share: (recalls[share], -share))
    return Guarded(best, float(backbone.mean()), recalls, len(backbone))


def _is_worse(ours: npt.NDArray[np.bool_], theirs: npt.NDArray[np.bool_]) -> bool:
    """Whether fewer of the same photos are found than chance explains: beyond the 95 % interval.

    Where nearly all are found anyway, as among photos of one source, a share would be kept for a few of them,
    and photos unlike these would be found less often.
    """
    difference = ours.astype(np.float64) - theirs
    return bool(difference.mean() < -1.96 * difference.std() / np.sqrt(len(difference)))


@torch.no_grad()
def _embedded(head: EmbeddingHead, features: Tensor, share: float) -> npt.NDArray[np.float32]:
    head = copy.deepcopy(head)
    head.keep_features(features, share)
    vectors: npt.NDArray[np.float32] = head(features).embedding.numpy()
    return vectors


def _first_hits(
    vectors: Sequence[npt.NDArray[np.float32]],
    products: npt.NDArray[np.int64],
    asked: Sequence[npt.NDArray[np.int64]],
) -> npt.NDArray[np.bool_]:
    """Returns whether the nearest of all others is right, for the rows asked for in each fold."""
    right = []
    for rows, embedded in zip(asked, vectors, strict=True):
        found = nearest(embedded[rows], embedded, 1, rows).positions[:, 0]
        right.append(products[found] == products[rows])
    return np.concatenate(right)


def _drawn(product: int, row: int, seed: int) -> float:
    """Returns a number in [0, 1) that all photos of a product share."""
    name = f"{seed} {product}" if product != MISSING else f"{seed} row {row}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64
