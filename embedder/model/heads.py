"""Heads: from a picture's feature to its embedding and its classes.

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

from embedder.model.taxonomy import Taxonomy

_CHUNK = 65_536


class HeadOutput(NamedTuple):
    """Results of the head.

    Attributes:
        embedding: ``(B, D)`` of unit norm.
        logits: For each level ``(B, C_l)``, before the softmax.
    """

    embedding: Tensor
    logits: tuple[Tensor, ...]


class EmbeddingHead(nn.Module):
    """What every head shares: centred features in, ``z = normalise(W_z (f (+) R))`` out.

    Args:
        feature_dim: Width ``F`` of the backbone's features.
        shared_dim: Width of ``R``, the concatenated representations of the levels; may be 0.
        embedding_dim: Width ``D`` of the embedding, at most ``F``.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, feature_dim: int, shared_dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("scale", torch.ones(()))
        self.projection = nn.Linear(feature_dim + shared_dim, embedding_dim, bias=False)

    def centred(self, features: Tensor) -> Tensor:
        """Returns the features with mean 0 and mean variance 1."""
        return (features - self.mean) * self.scale

    def embed(self, parts: list[Tensor]) -> Tensor:
        """Returns the embedding ``(B, D)`` of the centred features followed by the representations."""
        return functional.normalize(self.projection(torch.cat(parts, dim=1)), dim=1)

    @torch.no_grad()
    def start_from(self, features: Tensor, products: Tensor, shrinkage: float = 0.2) -> None:
        """Centres the input and starts the embedding at a whitening learned from groups of like photos.

        Args:
            features: ``(N, F)`` float32 of unit norm, N >= 2.
            products: ``(N,)`` int64 >= 0; rows of one number show the same product. Where each number
                occurs once, the start is the plain principal-component projection.
            shrinkage: Weight of the identity in addition to the covariance within products, as a multiple of
                that covariance's mean eigenvalue.
        """
        dim, feature_dim = self.projection.out_features, self.mean.numel()
        self.mean.copy_(features.mean(dim=0))
        total, of_means = _covariances(features, self.mean, products)
        self.scale.copy_((feature_dim / total.trace().clamp(min=1e-12)).sqrt())
        within = total - of_means
        isotropic = torch.eye(feature_dim, dtype=within.dtype) / feature_dim
        within += isotropic * (shrinkage * within.trace()).clamp(min=1e-6 * total.trace() + 1e-12)
        variances, axes = torch.linalg.eigh(within)
        whitening = axes @ torch.diag(variances.rsqrt()) @ axes.T
        _, components = torch.linalg.eigh(whitening @ total @ whitening)
        projection = components.flip(1)[:, :dim].T @ whitening
        self.projection.weight.zero_()
        # The rows' mean norm becomes 1, so that a learning rate means the same for every backbone.
        self.projection.weight[:, :feature_dim] = projection / projection.norm(dim=1).mean()

    @torch.no_grad()
    def keep_features(self, features: Tensor, share: float) -> None:
        """Makes a share of the embedding's similarity that of the plain centred features.

        Embedding and features side by side have that similarity, when ``1 - share`` of the rows' mean squared
        norm is the one's and ``share`` the other's; the directions along which rows vary most are kept.

        Args:
            features: ``(N, F)`` float32 of unit norm, N >= 2; in evaluation mode.
            share: 0 changes nothing, 1 leaves the features' principal components alone.
        """
        if not share:
            return
        width, feature_dim = self.projection.in_features, self.mean.numel()
        moment = torch.zeros(width, width, dtype=torch.float64)
        for rows in torch.split(features, _CHUNK):
            inputs = torch.cat(self.inputs(rows), dim=1).double()
            moment += inputs.T @ inputs / len(features)
        present = self.projection.weight.double()
        plain = torch.eye(feature_dim, width, dtype=torch.float64)
        both = torch.cat(
            [
                present * ((1 - share) / _mean_square(present, moment)).sqrt(),
                plain * (share / _mean_square(plain, moment)).sqrt(),
            ]
        )
        _, directions = torch.linalg.eigh(both @ moment @ both.T)
        kept = directions.flip(1)[:, : self.projection.out_features].T @ both
        self.projection.weight.copy_(kept * present.norm(dim=1).mean() / kept.norm(dim=1).mean())

    def inputs(self, features: Tensor) -> list[Tensor]:
        """Returns what the projection sees of features ``(B, F)``: centred ones, then what the levels add."""
        return [self.centred(features)]

    def forward(self, features: Tensor) -> HeadOutput:
        """Encodes features ``(B, F)``, float32 of unit norm."""
        return HeadOutput(self.embed(self.inputs(features)), ())


class DeepHierarchicalClassifier(EmbeddingHead):
    """A representation and a classifier for each level, deeper levels seeing those above them.

    Args:
        feature_dim: Width ``F`` of the backbone's features.
        class_counts: Number of classes of each level, from the root down; may be empty.
        embedding_dim: Width ``D`` of the embedding, at most ``F``.
        level_width: Width of every ``R'_l``.
        dropout: Share of ``R'_l`` dropped in training.
    """

    def __init__(
        self,
        feature_dim: int,
        class_counts: tuple[int, ...],
        embedding_dim: int,
        level_width: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(feature_dim, level_width * len(class_counts), embedding_dim)
        self.levels = nn.ModuleList(_level(feature_dim, level_width, dropout) for _ in class_counts)
        self.classifiers = nn.ModuleList(
            nn.Linear(level_width * (depth + 1), classes) for depth, classes in enumerate(class_counts)
        )

    def inputs(self, features: Tensor) -> list[Tensor]:
        """Returns what the projection sees of features ``(B, F)``: centred ones, then every ``R'_l``."""
        root = self.centred(features)
        return [root, *(level(root) for level in self.levels)]

    def forward(self, features: Tensor) -> HeadOutput:
        """Encodes features ``(B, F)``, float32 of unit norm."""
        root, *levels = self.inputs(features)
        logits = [
            classifier(torch.cat(levels[: depth + 1], dim=1))
            for depth, classifier in enumerate(self.classifiers)
        ]
        return HeadOutput(self.embed([root, *levels]), tuple(logits))


class FlatClassifier(EmbeddingHead):
    """The baseline: one softmax over the ends of the tree, marginalised up it (arXiv 2210.10929).

    The probability of a class is the sum over the ends below it. Its ``logits`` are the logarithms of
    these sums, so that at each level a softmax gives the probabilities again (in a ragged tree: among
    the classes of that level).

    Args:
        feature_dim: Width ``F`` of the backbone's features.
        taxonomy: The category tree, of one level or more.
        embedding_dim: Width ``D`` of the embedding, at most ``F``.
        level_width: Width of the representation that is classified.
        dropout: Share of the representation dropped in training.
    """

    def __init__(
        self, feature_dim: int, taxonomy: Taxonomy, embedding_dim: int, level_width: int, dropout: float = 0.0
    ) -> None:
        super().__init__(feature_dim, level_width, embedding_dim)
        ends = taxonomy.ends()
        self.level = _level(feature_dim, level_width, dropout)
        self.classifier = nn.Linear(level_width, len(ends))
        for depth, paths in enumerate(taxonomy.paths):
            below = torch.tensor([[float(end[: depth + 1] == path) for path in paths] for end in ends])
            self.register_buffer(f"below_{depth}", below, persistent=False)
        self._depth = len(taxonomy.paths)

    def inputs(self, features: Tensor) -> list[Tensor]:
        """Returns what the projection sees of features ``(B, F)``: centred ones, then what is classified."""
        root = self.centred(features)
        return [root, self.level(root)]

    def forward(self, features: Tensor) -> HeadOutput:
        """Encodes features ``(B, F)``, float32 of unit norm."""
        root, shared = self.inputs(features)
        ends = self.classifier(shared).softmax(dim=1)
        smallest = torch.finfo(ends.dtype).tiny
        logits = [
            (ends @ self.get_buffer(f"below_{depth}")).clamp(min=smallest).log()
            for depth in range(self._depth)
        ]
        return HeadOutput(self.embed([root, shared]), tuple(logits))


def _level(feature_dim: int, width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(feature_dim, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout))


def _mean_square(projection: Tensor, moment: Tensor) -> Tensor:
    """Returns the mean squared norm of projected rows of that second moment."""
    return torch.einsum("df,fg,dg->", projection, moment, projection).clamp(min=1e-12)


def _covariances(features: Tensor, mean: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the covariance ``(F, F)`` float64, and the one left when every row is its product's mean.

    The rows are widened to float64 a chunk at a time: all at once they may not fit in memory.
    """
    _, numbers, counts = torch.unique(products, return_inverse=True, return_counts=True)
    width = features.shape[1]
    total = torch.zeros(width, width, dtype=torch.float64)
    sums = torch.zeros(len(counts), width, dtype=torch.float64)
    for rows, their_numbers in zip(torch.split(features, _CHUNK), torch.split(numbers, _CHUNK), strict=True):
        centred = (rows - mean).double()
        total += centred.T @ centred
        sums.index_add_(0, their_numbers, centred)
    of_means: Tensor = (sums / counts[:, None]).T @ sums / len(features)
    return total / len(features), of_means
