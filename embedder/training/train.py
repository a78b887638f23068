"""Train a model on a catalogue: features of a frozen backbone, then the hierarchical head, then export."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle, check_replaceable, load_bundle
from embedder.evaluation.metrics import accuracy
from embedder.export import export_backbone_bundle, export_bundle
from embedder.model.backbone import Backbone, load_backbone
from embedder.model.heads import HierarchicalHead
from embedder.model.network import EmbeddingNetwork
from embedder.model.taxonomy import MISSING, Taxonomy
from embedder.training.config import TrainConfig
from embedder.training.features import FeatureExtractor, Features
from embedder.training.fit import TrainingSet, fit
from lookalike.catalog import LEVELS, Catalog, CatalogItem
from lookalike.errors import InvalidInputError, Reason

Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with the stage (``features``, ``train``, ``export``), steps done, their total, and figures."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training run did.

    Attributes:
        bundle: The written model.
        rows: Photos trained on.
        trained_on: The split that they come from: ``train``, or ``index`` where there is none.
        bad_photos: Photos that could not be read, with the reason; left out.
        metrics: Accuracy per level on the training rows and, where there are, on the ``val`` rows.
    """

    bundle: Bundle
    rows: int
    trained_on: str
    bad_photos: dict[Path, str]
    metrics: dict[str, float]


def train(catalog: Catalog, out_bundle: Path, config: TrainConfig, progress: Progress) -> TrainResult:
    """Train on a catalogue's ``train`` rows (else its ``index`` rows) and write a model bundle.

    Args:
        catalog: The catalogue.
        out_bundle: Folder of the bundle; an existing bundle there is replaced at the end.
        config: The settings.
        progress: Told about each stage.

    Raises:
        InvalidInputError: Fewer than two photos to train on, too many unreadable ones, unfit settings,
            or ``out_bundle`` holds something other than a bundle.
    """
    check_replaceable(out_bundle)
    items, split = catalog.training_items()
    backbone = load_backbone(config.backbone)
    features_of = _feature_reader(backbone, config, progress)
    features = features_of(items, config.augmented_copies)
    readable = [item for item, good in zip(items, features.readable, strict=True) if good]
    taxonomy = Taxonomy.from_categories(item.categories for item in readable)
    training_set = TrainingSet(
        features=torch.from_numpy(features.values[:, features.readable]),
        classes=_classes(taxonomy, readable),
        products=_products(readable),
    )
    head = fit(
        training_set,
        taxonomy,
        config,
        lambda epoch, figures: progress("train", epoch, config.epochs, figures),
    )
    metrics = _accuracies("train", head, taxonomy, training_set.features[0], readable)
    if held_out := catalog.rows("val"):
        labelled = features_of(held_out, 0)
        rows = [item for item, good in zip(held_out, labelled.readable, strict=True) if good]
        values = torch.from_numpy(labelled.values[0, labelled.readable])
        metrics |= _accuracies("val", head, taxonomy, values, rows)
    progress("export", 0, 1, metrics)
    bundle = export_bundle(
        EmbeddingNetwork(backbone.module, head),
        out_bundle,
        dim=config.embedding_dim,
        taxonomy=taxonomy,
        preprocess=backbone.preprocess,
        provenance=_provenance(readable, split, backbone, config),
        metrics=metrics,
    )
    progress("export", 1, 1, metrics)
    problems = {items[number].image_path: problem for number, problem in features.problems.items()}
    return TrainResult(bundle, len(readable), split, problems, metrics)


def _feature_reader(
    backbone: Backbone, config: TrainConfig, progress: Progress
) -> Callable[[Sequence[CatalogItem], int], Features]:
    """Return a function from rows and a number of augmented copies to features, most of them readable."""
    if config.embedding_dim > backbone.dim:
        raise InvalidInputError(
            f"The embedding cannot be wider than the backbone's {backbone.dim} features.",
            reason=Reason.CONFIG_INVALID,
        )
    bundle = _backbone_bundle(backbone, config)
    threads = config.threads or os.cpu_count() or 1
    encoder = OnnxEncoder(bundle, threads)
    extractor = FeatureExtractor(bundle, encoder, config.cache_folder / "features", threads)

    def features_of(rows: Sequence[CatalogItem], copies: int) -> Features:
        photos = [item.image_path for item in rows]
        found = extractor.extract(
            photos, copies, config.seed, lambda done, total: progress("features", done, total, {})
        )
        _check_readable(rows, found, config.max_bad_share)
        return found

    return features_of


def _backbone_bundle(backbone: Backbone, config: TrainConfig) -> Bundle:
    """Load the backbone's own bundle from the cache, exporting it first where there is none."""
    identity = hashlib.sha256(f"{backbone.weights_sha256} {backbone.preprocess.hash()}".encode()).hexdigest()
    folder = config.cache_folder / "backbones" / f"{config.backbone.architecture}-{identity[:16]}"
    try:
        return load_bundle(folder)
    except InvalidInputError:
        return export_backbone_bundle(config.backbone, folder)


def _check_readable(items: Sequence[CatalogItem], features: Features, max_bad_share: float) -> None:
    bad = len(features.problems)
    if len(items) - bad < 2:
        raise InvalidInputError(
            f"Only {len(items) - bad} of {len(items)} photos can be read; training needs two or more.",
            reason=Reason.CATALOG_INVALID,
        )
    if bad > max_bad_share * len(items):
        first, problem = next(iter(features.problems.items()))
        raise InvalidInputError(
            f"{bad} of {len(items)} photos cannot be read, more than {max_bad_share:.0%}; the first is "
            f"{items[first].image_path.name}: {problem}",
            reason=Reason.CATALOG_INVALID,
        )


def _classes(taxonomy: Taxonomy, items: Sequence[CatalogItem]) -> Tensor:
    encoded = taxonomy.encode(item.categories for item in items)
    return torch.tensor(encoded, dtype=torch.int64).reshape(len(items), len(taxonomy.paths))


def _products(items: Sequence[CatalogItem]) -> Tensor:
    """Number the products that have two photos or more."""
    counts = Counter(item.product_id for item in items)
    repeated = sorted(product for product, count in counts.items() if count > 1)
    numbers = {product: number for number, product in enumerate(repeated)}
    return torch.tensor([numbers.get(item.product_id, MISSING) for item in items], dtype=torch.int64)


def _accuracies(
    name: str, head: HierarchicalHead, taxonomy: Taxonomy, features: Tensor, items: Sequence[CatalogItem]
) -> dict[str, float]:
    with torch.inference_mode():
        logits = head(features).logits
    found = {}
    for depth, (paths, scores) in enumerate(zip(taxonomy.paths, logits, strict=True), start=1):
        predicted = [paths[number] for number in scores.argmax(dim=1).tolist()]
        actual = [item.categories[:depth] if len(item.categories) >= depth else None for item in items]
        if (measured := accuracy(predicted, actual)) is not None:
            found[f"{name}_accuracy_{LEVELS[depth - 1]}"] = measured.micro
            found[f"{name}_accuracy_{LEVELS[depth - 1]}_macro"] = measured.macro
    return found


def _provenance(
    items: Sequence[CatalogItem], split: str, backbone: Backbone, config: TrainConfig
) -> dict[str, Any]:
    """Describe the run by what decides its result; no path and no time, which equal runs do not share."""
    digest = hashlib.sha256()
    for item in items:
        photo = hashlib.sha256(item.image_path.read_bytes()).hexdigest()
        digest.update(
            "\x1f".join((item.item_id, item.product_id, photo, *item.categories)).encode() + b"\x1e"
        )
    settings = config.model_dump(mode="json", exclude={"backbone", "cache_folder", "threads"})
    return {
        "kind": "trained",
        "architecture": config.backbone.architecture,
        "weights_sha256": backbone.weights_sha256,
        "catalog_sha256": digest.hexdigest(),
        "trained_on": split,
        "rows": len(items),
        "settings": settings,
    }
