"""Hierarchical multi-label contrastive loss (HiMulCon; Zhang et al., "Use All The Labels", CVPR 2022).

A supervised contrastive loss at each level of the tree, the product being the finest: two photos are
alike at a level if their whole paths down to it are equal. A coarser level must not be easier than a
finer one (the hierarchical constraint), so its loss is at least the largest of the finer ones. After a
level one photo per group goes on to the next, so that coarser levels compare groups, not photos.

The authors' code masks the last column of labels before it starts, so that with the columns meta,
level 2 and leaf the leaf is never used. Here the product id is a column of its own and every level
counts. Their comparison of all pairs in Python is one ``unique`` over the rows here.
"""

from __future__ import annotations

import torch
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor, nn

from embedder.model.taxonomy import MISSING


class HierarchicalContrastiveLoss(nn.Module):
    """``1/L sum_l 2^(1/l) max(SupCon_l, SupCon of the finer levels)``, ``l = 1`` being the finest.

    Args:
        temperature: Of the similarities.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self._contrast = SupConLoss(temperature=temperature)

    def forward(self, embeddings: Tensor, classes: Tensor, products: Tensor) -> Tensor:
        """Returns the loss of a batch.

        Args:
            embeddings: ``(B, D)`` of unit norm.
            classes: ``(B, levels)`` int64; :data:`MISSING` where a row has no class. Such a row skips
                the level and takes part in the coarser ones.
            products: ``(B,)`` int64; :data:`MISSING` for products with one photo.
        """
        labels = torch.cat([classes, products[:, None]], dim=1)
        levels = labels.shape[1]
        kept = torch.ones(len(labels), dtype=torch.bool, device=labels.device)
        total = floor = embeddings.sum() * 0
        for number, depth in enumerate(reversed(range(levels)), start=1):
            rows = torch.nonzero(kept & (labels[:, depth] != MISSING)).flatten()
            if len(rows) < 2:
                total = total + 2 ** (1 / number) * floor
                continue
            _, groups = torch.unique(labels[rows, : depth + 1], dim=0, return_inverse=True)
            floor = torch.maximum(floor, self._contrast(embeddings[rows], groups))
            total = total + 2 ** (1 / number) * floor
            kept[rows] = False
            kept[rows[_first_of_each(groups)]] = True
        return total / levels


def _first_of_each(groups: Tensor) -> Tensor:
    """Returns the position of each group's first row."""
    order = torch.argsort(groups, stable=True)
    ordered = groups[order]
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    return order[starts]
