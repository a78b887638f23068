"""The hierarchical head: one representation per category level, a classifier on each, one embedding.

Deep Hierarchical Classification (Gao et al. 2020, arXiv 2005.06692) moved from titles to photos. With
``f`` the picture's feature, ``R'_l = GELU(LayerNorm(W'_l f))`` and ``R_l = R_{l-1} (+) R'_l``
(concatenation), level ``l`` is classified by ``softmax(W_l R_l)``. The nonlinearity matters: without it
every level would be affine in ``f`` and sharing representations would add nothing.

The embedding is ``z = normalise(W_z (f (+) R_3))``. It starts as a discriminative whitening of ``f``
(Mikolajczyk and Matas 2007; Radenovic et al., arXiv 1711.02512, section 4.3): scale down the directions
in which photos of one product differ, then keep the principal components. The block on ``R_3`` starts at
zero, so training corrects that projection. Unlike a projection learned from nothing, it holds for
products that training never saw.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class HeadOutput(NamedTuple):
    """Results of the head.

    Attributes:
        embedding: ``(B, D)`` of unit norm.
        logits: For each level ``(B, C_l)``, before the softmax.
    """

    embedding: Tensor
    logits: tuple[Tensor, ...]


class HierarchicalHead(nn.Module):
    """Maps backbone features to an embedding and class scores for each level.

    Args:
        feature_dim: Width ``F`` of the backbone's features.
        class_counts: Number of classes of each level, from the root down; may be empty.
        embedding_dim: Width ``D`` of the embedding, at most ``F``.
        level_width: Width of every ``R'_l``.
        dropout: Share of ``R'_l`` dropped in training.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        feature_dim: int,
        class_counts: tuple[int, ...],
        embedding_dim: int,
        level_width: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("scale", torch.ones(()))
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Linear(feature_dim, level_width), nn.LayerNorm(level_width), nn.GELU(), nn.Dropout(dropout)
            )
            for _ in class_counts
        )
        self.classifiers = nn.ModuleList(
            nn.Linear(level_width * (depth + 1), classes) for depth, classes in enumerate(class_counts)
        )
        self.projection = nn.Linear(feature_dim + level_width * len(class_counts), embedding_dim, bias=False)

    @torch.no_grad()
    def start_from(self, features: Tensor, products: Tensor, shrinkage: float = 0.2) -> None:
        """Centre the input and start the embedding at a whitening learned from groups of like photos.

        Args:
            features: ``(N, F)`` float32 of unit norm, N >= 2.
            products: ``(N,)`` int64 >= 0; rows of one number show the same product. Where each number
                occurs once, the start is the plain principal-component projection.
            shrinkage: Weight of the identity beside the covariance within products, as a multiple of
                that covariance's mean eigenvalue.
        """
        dim, feature_dim = self.projection.out_features, self.mean.numel()
        self.mean.copy_(features.mean(dim=0))
        centred = (features - self.mean).double()
        total = centred.T @ centred / len(centred)
        self.scale.copy_((feature_dim / total.trace().clamp(min=1e-12)).sqrt())
        within = total - _covariance_of_means(centred, products)
        isotropic = torch.eye(feature_dim, dtype=within.dtype) / feature_dim
        within += isotropic * (shrinkage * within.trace()).clamp(min=1e-6 * total.trace() + 1e-12)
        variances, axes = torch.linalg.eigh(within)
        whitening = axes @ torch.diag(variances.rsqrt()) @ axes.T
        _, components = torch.linalg.eigh(whitening @ total @ whitening)
        projection = components.flip(1)[:, :dim].T @ whitening
        self.projection.weight.zero_()
        # The rows' mean norm becomes 1, so that a learning rate means the same for every backbone.
        self.projection.weight[:, :feature_dim] = projection / projection.norm(dim=1).mean()

    def forward(self, features: Tensor) -> HeadOutput:
        """Encode features.

        Args:
            features: ``(B, F)`` float32 of unit norm.
        """
        root = (features - self.mean) * self.scale
        shared: list[Tensor] = []
        logits = []
        for level, classifier in zip(self.levels, self.classifiers, strict=True):
            shared.append(level(root))
            logits.append(classifier(torch.cat(shared, dim=1)))
        embedding = functional.normalize(self.projection(torch.cat([root, *shared], dim=1)), dim=1)
        return HeadOutput(embedding, tuple(logits))


def _covariance_of_means(centred: Tensor, products: Tensor) -> Tensor:
    """Return the covariance that is left when every row is replaced by the mean of its product's rows."""
    _, numbers, counts = torch.unique(products, return_inverse=True, return_counts=True)
    sums = centred.new_zeros(len(counts), centred.shape[1]).index_add_(0, numbers, centred)
    covariance: Tensor = (sums / counts[:, None]).T @ sums / len(centred)
    return covariance
