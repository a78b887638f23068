"""What training minimises: the level losses and the loss on product ids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pytorch_metric_learning.losses import ProxyAnchorLoss
from torch import Tensor, nn
from torch.nn import functional

from embedder.model.taxonomy import MISSING


def level_loss(logits: Sequence[Tensor], classes: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the weighted sum of the levels' cross entropies, each over the rows with a class there.

    Args:
        logits: For each level ``(B, C_l)``.
        classes: ``(B, levels)`` int64; :data:`MISSING` where a row has no class.
        weights: One weight per level (alpha_l in arXiv 2005.06692).
    """
    total = classes.new_zeros((), dtype=torch.float32)
    for level, (scores, weight) in enumerate(zip(logits, weights, strict=False)):
        target = classes[:, level]
        entropy = functional.cross_entropy(scores, target, ignore_index=MISSING, reduction="sum")
        total = total + weight * entropy / (target != MISSING).sum().clamp(min=1)
    return total


class ProductLoss(nn.Module):
    """Proxy-Anchor (Kim et al. 2020, arXiv 2003.13911) on product ids, for products with two photos or more.

    Each product has a proxy, which starts at the mean embedding of its photos. Products with one photo
    have nothing to be similar to; they take no part.

    Args:
        embeddings: ``(N, D)`` embeddings at the start of training, of unit norm.
        products: ``(N,)`` int64, the product's number from 0; :data:`MISSING` for products with one photo.
    """

    def __init__(self, embeddings: Tensor, products: Tensor) -> None:
        super().__init__()
        known = products != MISSING
        count, dim = int(products.max()) + 1, embeddings.shape[1]
        self._loss = ProxyAnchorLoss(num_classes=count, embedding_size=dim)
        means = torch.zeros(count, dim).index_add_(0, products[known], embeddings[known])
        with torch.no_grad():
            self._loss.proxies.copy_(functional.normalize(means, dim=1))

    def forward(self, embeddings: Tensor, products: Tensor) -> Tensor:
        """Return the loss of a batch, 0 if none of its products has a proxy."""
        known = products != MISSING
        if not bool(known.any()):
            return embeddings.sum() * 0
        loss: Tensor = self._loss(embeddings[known], products[known])
        return loss
