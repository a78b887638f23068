"""The training loop of the head on cached features."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from embedder.model.heads import HierarchicalHead
from embedder.model.taxonomy import MISSING, Taxonomy
from embedder.training.config import TrainConfig
from embedder.training.losses import ProductLoss, level_loss

_FEWEST_BATCHES = 10
_SMALLEST_BATCH = 8


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Cached features and labels.

    Attributes:
        features: ``(copies, N, F)`` float32 of unit norm; the first copy is the unaltered photo.
        classes: ``(N, levels)`` int64; ``MISSING`` where a row has no class.
        products: ``(N,)`` int64; ``MISSING`` for products with a single photo.
    """

    features: Tensor
    classes: Tensor
    products: Tensor


def fit(
    data: TrainingSet,
    taxonomy: Taxonomy,
    config: TrainConfig,
    on_epoch: Callable[[int, Mapping[str, float]], None],
) -> HierarchicalHead:
    """Train a head with AdamW, a short warm-up and cosine decay.

    Args:
        data: Features and labels.
        taxonomy: The category tree.
        config: The settings.
        on_epoch: Called after each epoch with its number from 1 and its mean losses.

    Returns:
        The head, in evaluation mode.
    """
    # The head is so small that a second thread costs more than it brings on shared cores, and one
    # thread always sums in the same order.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return _fit(data, taxonomy, config, on_epoch)
    finally:
        torch.set_num_threads(threads)


def _fit(
    data: TrainingSet,
    taxonomy: Taxonomy,
    config: TrainConfig,
    on_epoch: Callable[[int, Mapping[str, float]], None],
) -> HierarchicalHead:
    head = HierarchicalHead(
        data.features.shape[2], taxonomy.sizes, config.embedding_dim, config.level_width, config.dropout
    )
    copies = len(data.features)
    head.start_from(data.features.flatten(0, 1), _groups(data.products).repeat(copies))
    start = head.projection.weight.detach().clone()
    product_loss = _product_loss(head, data, config)
    if product_loss is None and not taxonomy.paths:
        return head.eval()  # no labels to learn from: the start is all there is
    optimizer = _optimizer(head, product_loss, config)
    batches = _batches_per_epoch(len(data.classes), config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_up_then_cosine(config.epochs * batches))
    for epoch in range(1, config.epochs + 1):
        head.train()
        sums = {"loss": 0.0, "level_loss": 0.0, "product_loss": 0.0}
        for features, classes, products in _batches(data, batches):
            output = head(features)
            levels = level_loss(output.logits, classes, config.level_weights)
            product = product_loss(output.embedding, products) if product_loss else torch.zeros(())
            loss = levels + config.metric_loss_weight * product
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            for name, value in (("loss", loss), ("level_loss", levels), ("product_loss", product)):
                sums[name] += float(value.detach()) / batches
        on_epoch(epoch, sums)
    with torch.no_grad():
        head.projection.weight.copy_(start.lerp(head.projection.weight, config.projection_share))
    return head.eval()


def _groups(products: Tensor) -> Tensor:
    """Number every product, also those with one photo: its augmented copies are a group as well."""
    alone = products.amax() + 1 + torch.arange(len(products))
    return torch.where(products == MISSING, alone, products)


def _batches_per_epoch(rows: int, batch_size: int) -> int:
    """Return how many batches make an epoch: on few rows smaller ones, so that there are enough steps."""
    return max(1, min(rows // _SMALLEST_BATCH, max(_FEWEST_BATCHES, round(rows / batch_size))))


def _warm_up_then_cosine(steps: int) -> Callable[[int], float]:
    warm_up = max(1, steps // 10)

    def factor(step: int) -> float:
        return min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * step / steps)))

    return factor


def _product_loss(head: HierarchicalHead, data: TrainingSet, config: TrainConfig) -> ProductLoss | None:
    if config.metric_loss == "none" or int(data.products.max()) < 1:
        return None
    with torch.no_grad():
        start = head.eval()(data.features[0]).embedding
    return ProductLoss(start, data.products)


def _optimizer(
    head: HierarchicalHead, product_loss: ProductLoss | None, config: TrainConfig
) -> torch.optim.AdamW:
    # Decay would pull the embedding away from the principal components that it starts at.
    undecayed = [*head.projection.parameters(), *(product_loss.parameters() if product_loss else ())]
    decayed = [*head.levels.parameters(), *head.classifiers.parameters()]
    groups: list[dict[str, Any]] = [{"params": undecayed, "weight_decay": 0.0}]
    if decayed:
        groups.append({"params": decayed})
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


def _batches(data: TrainingSet, batches: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the rows in random order, each as a randomly chosen one of its copies."""
    copies, rows, _ = data.features.shape
    for batch in torch.randperm(rows).tensor_split(batches):
        copy = torch.randint(copies, (len(batch),))
        yield data.features[copy, batch], data.classes[batch], data.products[batch]
