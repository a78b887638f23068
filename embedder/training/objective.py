"""The sum that training minimises, put together from the settings and from what the rows offer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from embedder.model.heads import EmbeddingHead, FlatClassifier, HeadOutput
from embedder.model.taxonomy import MISSING, Taxonomy
from embedder.training.config import TrainConfig
from embedder.training.data import Batch, Labels
from embedder.training.losses.attributes import AttributeKind, AttributeLoss
from embedder.training.losses.contrastive import HierarchicalContrastiveLoss
from embedder.training.losses.dependence import dependence_loss
from embedder.training.losses.layer import effective_number_weights, flat_loss, layer_loss
from embedder.training.losses.metric import MetricLoss


class Objective(nn.Module):
    """The weighted terms: layer (or flat), dependence, metric and attribute losses.

    Args:
        head: The head, at its start, in evaluation mode.
        features: ``(N, F)`` float32 of unit norm: all rows, unaltered.
        labels: Their targets.
        taxonomy: The category tree.
        config: The settings.
    """

    def __init__(
        self, head: EmbeddingHead, features: Tensor, labels: Labels, taxonomy: Taxonomy, config: TrainConfig
    ) -> None:
        super().__init__()
        self._config = config
        self._flat = isinstance(head, FlatClassifier)
        self._depth = len(taxonomy.paths)
        for level, (parents, size) in enumerate(zip(taxonomy.parents, taxonomy.sizes, strict=True)):
            known = labels.classes[:, level]
            counts = torch.bincount(known[known != MISSING], minlength=size)
            weights = effective_number_weights(counts, config.class_balance)
            self.register_buffer(f"class_weights_{level}", weights, persistent=False)
            self.register_buffer(
                f"parents_{level}", torch.tensor(parents, dtype=torch.int64), persistent=False
            )
        repeated = int(labels.products.max()) >= 1
        self.metric: MetricLoss | None = None
        self.contrast: HierarchicalContrastiveLoss | None = None
        if config.metric_loss == "himulcon":
            self.contrast = HierarchicalContrastiveLoss() if repeated or self._depth else None
        elif config.metric_loss != "none" and repeated:
            with torch.no_grad():
                start = head(features).embedding
            self.metric = MetricLoss(
                config.metric_loss, start, labels.products, hard_negatives=config.hard_negatives
            )
        self.attributes: AttributeLoss | None = None
        if names := labels.attributes.names:
            kind: AttributeKind = "bce" if config.title_loss == "bce" else "softmax"
            self.attributes = AttributeLoss(kind, config.embedding_dim, len(names))

    @property
    def has_terms(self) -> bool:
        """Whether there is anything to learn from."""
        return bool(self._depth or self.metric or self.contrast or self.attributes)

    def forward(self, output: HeadOutput, batch: Batch) -> dict[str, Tensor]:
        """Returns the weighted terms of a batch by name; their sum is the loss."""
        config, classes = self._config, batch.classes
        terms = {}
        if self._depth and self._flat:
            terms["flat_loss"] = flat_loss(output.logits, classes)
        elif self._depth:
            balance = self._per_level("class_weights") if config.class_balance else None
            terms["layer_loss"] = layer_loss(output.logits, classes, config.level_weights, balance)
            if config.dependence_weight and self._depth > 1:
                value = dependence_loss(output.logits, classes, self._per_level("parents"))
                terms["dependence_loss"] = config.dependence_weight * value
        if self.metric:
            value = self.metric(output.embedding, batch.products)
            terms["metric_loss"] = config.metric_loss_weight * value
        if self.contrast:
            value = self.contrast(output.embedding, classes, batch.products)
            terms["metric_loss"] = config.metric_loss_weight * value
        if self.attributes:
            value = self.attributes(output.embedding, batch.attributes)
            terms["attribute_loss"] = config.title_loss_weight * value
        return terms

    def _per_level(self, name: str) -> list[Tensor]:
        return [self.get_buffer(f"{name}_{level}") for level in range(self._depth)]
