"""What a trained network says of labelled rows, and how much of it is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from embedder.evaluation.measures import accuracy
from embedder.evaluation.search import nearest
from embedder.model.heads import EmbeddingHead
from embedder.model.network import unit_features
from embedder.model.taxonomy import MISSING, Taxonomy
from embedder.photos import naming, read_photo
from embedder.preparation import prepared_ahead
from embedder.preprocess import PreprocessParams, preprocess
from embedder.training.rows import number_repeated
from lookalike.catalogue.catalog import LEVELS, CatalogItem
from lookalike.categories.belief import Belief, Prediction
from lookalike.categories.tree import CategoryPath, PathTree

_BATCH = 64


@dataclass(frozen=True)
class Outcome:
    """Predictions for some rows.

    Attributes:
        items: The rows.
        taxonomy: The category tree.
        embeddings: ``(N, D)`` float32 of unit norm.
        probabilities: For each level ``(N, C_l)`` float32, as the network gives them.
    """

    items: Sequence[CatalogItem]
    taxonomy: Taxonomy
    embeddings: npt.NDArray[np.float32]
    probabilities: tuple[npt.NDArray[np.float32], ...]

    @cached_property
    def _predictions(self) -> list[list[Prediction]]:
        """Each row's predicted category and those above it, from the top down."""
        tree = PathTree(self.taxonomy.paths)
        found: list[list[Prediction]] = []
        for start in range(0, len(self.items), _BATCH):
            rows = [level[start : start + _BATCH] for level in self.probabilities]
            found.extend(Belief(tree, posterior).along() for posterior in tree.posterior(rows))
        return found

    def predicted(self, depth: int) -> list[CategoryPath]:
        """Returns what each row's predicted category says at a level: itself where it ends above.

        Args:
            depth: 0 is the topmost level.
        """
        return [row[: depth + 1][-1].path for row in self._predictions]

    def confidence(self, row: int, depth: int) -> float:
        """Returns how probable that is which is predicted of a row at a level."""
        return self._predictions[row][: depth + 1][-1].probability

    def accuracies(self) -> dict[str, float]:
        """Returns ``accuracy_LEVEL`` and ``accuracy_LEVEL_macro`` of the levels that the rows have."""
        found = {}
        for depth in range(len(self.taxonomy.paths)):
            actual = [
                item.categories[: depth + 1] if len(item.categories) > depth else None for item in self.items
            ]
            if (measured := accuracy(self.predicted(depth), actual)) is not None:
                found[f"accuracy_{LEVELS[depth]}"] = measured.micro
                found[f"accuracy_{LEVELS[depth]}_macro"] = measured.macro
        return found

    def recall_at_1(self) -> float | None:
        """Returns the share of rows whose nearest other row shows their product.

        Rows whose product no other row shows are among the others, but do not count; None if there are
        no rows that do.
        """
        products = number_repeated([item.product_id for item in self.items])
        if not bool((products != MISSING).any()):
            return None
        own = np.arange(len(self.embeddings))
        found = nearest(self.embeddings, self.embeddings, 1, own).positions[:, 0]
        return float((products[found] == products)[products != MISSING].float().mean())

    def figures(self) -> dict[str, float]:
        """Returns the accuracies, and ``recall@1`` where products repeat."""
        recall = self.recall_at_1()
        return self.accuracies() | ({} if recall is None else {"recall@1": recall})


def monitored(figures: dict[str, float]) -> dict[str, float]:
    """Adds ``monitor``, what early stopping watches: recall at 1, else the deepest level's macro accuracy."""
    macro = [figures[name] for level in LEVELS if (name := f"accuracy_{level}_macro") in figures]
    return {**figures, "monitor": figures.get("recall@1", macro[-1] if macro else 0.0)}


def outcome_of_features(
    head: EmbeddingHead, features: Tensor, items: Sequence[CatalogItem], taxonomy: Taxonomy
) -> Outcome:
    """Returns what a head says of features ``(N, F)``, which lie on its device."""
    with _evaluating(head), torch.no_grad():
        output = head(features)
    probabilities = tuple(logits.softmax(dim=1).cpu().numpy() for logits in output.logits)
    return Outcome(items, taxonomy, output.embedding.cpu().numpy(), probabilities)


def outcome_of_photos(
    backbone: nn.Module,
    head: EmbeddingHead,
    items: Sequence[CatalogItem],
    taxonomy: Taxonomy,
    params: PreprocessParams,
    threads: int,
    *,
    mirror: bool,
) -> Outcome:
    """Returns what a backbone and a head say of readable photos, computed on the device they lie on."""
    device = next(head.parameters()).device
    photos = [item.image_path for item in items]

    def prepare(photo: Path) -> npt.NDArray[np.float32]:
        with naming(photo):
            return preprocess(read_photo(photo), params)

    found = []
    with _evaluating(backbone), torch.no_grad():
        for _, pictures in prepared_ahead(photos, prepare, batch_size=_BATCH, threads=threads):
            batch = torch.from_numpy(np.stack(pictures)).to(device)
            found.append(unit_features(backbone, batch, mirror=mirror))
    return outcome_of_features(head, torch.cat(found), items, taxonomy)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
