"""Metric losses: photos of one product close to each other, far from the others."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pytorch_metric_learning.losses import ArcFaceLoss, ProxyAnchorLoss, SupConLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch import Tensor, nn
from torch.nn import functional

from embedder.model.taxonomy import MISSING

MetricKind = Literal["proxy_anchor", "arcface", "supcon"]


class MetricLoss(nn.Module):
    """A loss of ``pytorch-metric-learning`` on product ids, for products with two photos or more.

    ``proxy_anchor`` (arXiv 2003.13911) and ``arcface`` (arXiv 1801.07698) keep a proxy per product, which
    starts at the mean embedding of its photos; ``supcon`` (arXiv 2004.11362) compares the photos of a
    batch with each other. Products with one photo have nothing to be similar to; they take no part.

    Args:
        kind: Which loss.
        embeddings: ``(N, D)`` embeddings at the start of training, of unit norm.
        products: ``(N,)`` int64, the product's number from 0; :data:`MISSING` for products with one photo.
        hard_negatives: Learn only from pairs that the multi-similarity miner (arXiv 1904.06627) finds
            hard: negatives nearly as similar as the least similar positive, and the reverse. For the
            losses with proxies, photos weigh by how often they are in such pairs.
    """

    def __init__(
        self, kind: MetricKind, embeddings: Tensor, products: Tensor, *, hard_negatives: bool = False
    ) -> None:
        super().__init__()
        known = products != MISSING
        count, dim = int(products.max()) + 1, embeddings.shape[1]
        sums = torch.zeros(count, dim).index_add_(0, products[known], embeddings[known])
        means = functional.normalize(sums, dim=1)
        self._loss: Any
        if kind == "proxy_anchor":
            self._loss = ProxyAnchorLoss(num_classes=count, embedding_size=dim)
            self._loss.proxies.data.copy_(means)
        elif kind == "arcface":
            self._loss = ArcFaceLoss(num_classes=count, embedding_size=dim)
            self._loss.W.data.copy_(means.T)
        else:
            self._loss = SupConLoss()
        self._miner = MultiSimilarityMiner() if hard_negatives else None

    def forward(self, embeddings: Tensor, products: Tensor) -> Tensor:
        """Returns the loss of a batch, 0 if none of its products takes part."""
        known = products != MISSING
        if not bool(known.any()):
            return embeddings.sum() * 0
        embeddings, products = embeddings[known], products[known]
        pairs = self._miner(embeddings, products) if self._miner else None
        loss: Tensor = self._loss(embeddings, products, pairs)
        return loss
