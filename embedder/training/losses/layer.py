"""Layer losses: how well each level of the tree is classified."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from embedder.model.taxonomy import MISSING


def layer_loss(
    logits: Sequence[Tensor],
    classes: Tensor,
    weights: Sequence[float],
    class_weights: Sequence[Tensor] | None = None,
) -> Tensor:
    """Returns the weighted sum of the levels' cross entropies, each over the rows with a class there.

    Args:
        logits: For each level ``(B, C_l)``.
        classes: ``(B, levels)`` int64; :data:`MISSING` where a row has no class.
        weights: One weight per level (alpha_l in arXiv 2005.06692).
        class_weights: For each level ``(C_l,)``, see :func:`effective_number_weights`; None weighs all
            classes alike. A level's loss is the mean over rows, weighted by their classes.
    """
    total = torch.zeros((), device=classes.device)
    for level, (scores, weight) in enumerate(zip(logits, weights, strict=False)):
        target = classes[:, level]
        known = target != MISSING
        per_class = None if class_weights is None else class_weights[level]
        entropy = functional.cross_entropy(
            scores, target, weight=per_class, ignore_index=MISSING, reduction="sum"
        )
        rows = known.sum().clamp(min=1) if per_class is None else per_class[target[known]].sum()
        total = total + weight * entropy / rows.clamp(min=torch.finfo(entropy.dtype).tiny)
    return total


def flat_loss(logits: Sequence[Tensor], classes: Tensor) -> Tensor:
    """Returns the mean negative log-probability of each row's deepest class.

    Args:
        logits: For each level ``(B, C_l)``, logarithms of marginal probabilities
            (:class:`embedder.model.heads.FlatClassifier`).
        classes: ``(B, levels)`` int64; :data:`MISSING` where a row has no class. Rows without any class
            take no part.
    """
    total = torch.zeros((), device=classes.device)
    depths = (classes != MISSING).sum(dim=1)
    for level, scores in enumerate(logits):
        rows = torch.nonzero(depths == level + 1).flatten()
        total = total - scores[rows, classes[rows, level]].sum()
    return total / (depths > 0).sum().clamp(min=1)


def effective_number_weights(counts: Tensor, beta: float) -> Tensor:
    """Returns class weights inverse to the effective number of samples (Cui et al., CVPR 2019, eq. 2).

    The effective number of ``n`` samples is ``(1 - beta^n) / (1 - beta)``: 1 for every class at
    ``beta = 0``, ``n`` as ``beta`` nears 1.

    Args:
        counts: ``(C,)`` rows of each class; a class without rows counts as if it had one.
        beta: From 0 (all classes weigh the same) to below 1.

    Returns:
        ``(C,)`` float32 with mean 1.
    """
    effective = (1 - beta ** counts.clamp(min=1).double()) / (1 - beta)
    weights = 1 / effective
    return (weights / weights.mean()).float()
