"""Titles as extra targets: predict the words of a photo's title from its embedding."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

AttributeKind = Literal["softmax", "bce"]

_SCALE = 16.0


class AttributeLoss(nn.Module):
    """Multi-label classification of pseudo-attributes, on cosines with one weight vector per attribute.

    ``softmax`` is the cross entropy of one softmax with targets that sum to 1 (Mahajan et al., arXiv
    1805.00932, section 2.2); ``bce`` is a binary cross entropy per attribute, summed.

    Args:
        kind: Which loss.
        embedding_dim: Width ``D`` of the embedding.
        attributes: Number of attributes.
    """

    def __init__(self, kind: AttributeKind, embedding_dim: int, attributes: int) -> None:
        super().__init__()
        self._kind = kind
        self.weight = nn.Parameter(torch.randn(attributes, embedding_dim))
        # Most attributes are absent from most photos: start at a small probability.
        self.bias = nn.Parameter(torch.full((attributes,), -4.0 if kind == "bce" else 0.0))

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of the rows that have an attribute, 0 if there is none.

        Args:
            embeddings: ``(B, D)`` of unit norm.
            targets: ``(B, A)`` float32, 1 where the row has the attribute, else 0.
        """
        titled = targets.sum(dim=1) > 0
        if not bool(titled.any()):
            return embeddings.sum() * 0
        targets = targets[titled]
        weight = functional.normalize(self.weight, dim=1)
        scores = _SCALE * embeddings[titled] @ weight.T + self.bias
        if self._kind == "softmax":
            return functional.cross_entropy(scores, targets / targets.sum(dim=1, keepdim=True))
        losses = functional.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        return losses.sum(dim=1).mean()
