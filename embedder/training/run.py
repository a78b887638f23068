"""One training run: cached features, the head, optionally the whole network."""

from __future__ import annotations

import copy
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle, load_bundle
from embedder.encoder import Encoder
from embedder.export import export_backbone
from embedder.model.backbone import Backbone, check_features, load_backbone
from embedder.model.heads import EmbeddingHead
from embedder.model.taxonomy import Taxonomy
from embedder.training.callbacks import Figures
from embedder.training.config import TrainConfig
from embedder.training.data import Labels, feature_loader, photo_loader
from embedder.training.devices import uses_gpu
from embedder.training.features import FeatureExtractor
from embedder.training.fit import Phase, fit, make_head
from embedder.training.freezing import freeze
from embedder.training.guard import Guarded, guarded_share
from embedder.training.inputs import Inputs, of_activations, of_pictures
from embedder.training.interpolation import interpolate, parameters_of
from embedder.training.module import TrainingModule
from embedder.training.outcome import Outcome, monitored, outcome_of_features, outcome_of_photos
from embedder.training.rows import Rows, make_labels, split_rows
from embedder.training.sampling import Plan
from embedder.training.torch_encoder import TorchEncoder
from lookalike.catalogue.catalog import Catalog, CatalogItem
from lookalike.errors import InvalidInputError, Reason

Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with the stage (``features``, ``train``, ``guard``, ``activations``, ``fine-tune``, ``calibrate`` or
``export``), steps done, their total, and figures: losses and ``photos_per_second``."""

_TRAINING_ROWS_MEASURED = 4096


class TrainingRun:
    """The parts of a run and what passes between them.

    Args:
        catalog: The catalogue.
        config: The settings.
        progress: Called at each stage.

    Raises:
        InvalidInputError: As :func:`embedder.training.train.train`.
    """

    def __init__(self, catalog: Catalog, config: TrainConfig, progress: Progress) -> None:
        self.config = config.check()
        self.backbone = load_backbone(config.backbone)
        if not config.is_backbone_alone and config.embedding_dim > self.backbone.dim:
            raise InvalidInputError(
                f"the embedding cannot be wider than the backbone's {self.backbone.dim} features",
                reason=Reason.CONFIG_INVALID,
            )
        self.bad_photos: dict[Path, str] = {}
        self._photo_hashes: dict[Path, str] = {}
        self._known: dict[str, Tensor] = {}
        self._progress = progress
        items, held_out, self.split = split_rows(catalog, config.hold_out, config.seed)
        self.index = catalog.index_items() if self.split == "train" else []
        if config.patience is not None:
            _check_measurable(held_out)
        self._features = self._feature_extractor()
        copies = 0 if config.is_backbone_alone else config.augmented_copies
        self.rows = self._read(items, copies, at_least=2)
        self.held_out = self._read(held_out) if held_out else None
        self.taxonomy = Taxonomy()
        if config.head != "none":
            self.taxonomy = Taxonomy.from_categories(item.categories for item in self.rows.items)
        self.guarded: Guarded | None = None
        self.labels: Labels = make_labels(self.rows, self.taxonomy, config)

    def train(self) -> tuple[EmbeddingHead, dict[str, list[Figures]]]:
        """Trains the head on cached features, then, if so set, the network on pictures."""
        head = self.make_head()
        if self.config.head == "none":
            return head, {}
        history = {"train": self.train_head(head)}
        if self.config.fine_tune:
            history["fine-tune"] = self.fine_tune(head)
        else:
            self._keep_features(head)
        return head, history

    def make_head(self) -> EmbeddingHead:
        """Returns the head at its start."""
        return make_head(self.rows.features, self.labels, self.taxonomy, self.config)

    def train_head(self, head: EmbeddingHead) -> list[Figures]:
        """Trains a head on cached features; returns each epoch's figures."""
        config = self.config
        start = parameters_of(head.projection)
        plan = _plan(self.labels, config, config.epochs, config.batch_size)
        loader = feature_loader(self.rows.features, self.labels, plan)

        def validate(module: TrainingModule) -> Figures:
            kept = copy.deepcopy(module.head)
            interpolate(kept.projection, start, config.projection_share)
            assert self.held_out
            return monitored(self._outcome_of_features(kept, self.held_out).figures())

        history = self._fit(head, Phase("train", plan, loader, None, validate if self.held_out else None))
        interpolate(head.projection, start, config.projection_share)
        return history

    def _keep_features(self, head: EmbeddingHead) -> None:
        """Gives the embedding as much of the backbone as the settings or held-out products want."""
        config = self.config
        # Lightning starts a further process for each of several devices at the first training alone.
        if config.backbone_share == "auto" and config.devices == 1:
            self.guarded = guarded_share(
                self.rows.features[0], self.labels.products, self._head_of_part, config.seed
            )
        head.keep_features(self.rows.features[0], self._backbone_share)

    @property
    def _backbone_share(self) -> float:
        """What was set, or found; 0 where nothing was found."""
        if self.config.backbone_share != "auto":
            return self.config.backbone_share
        return self.guarded.share if self.guarded else 0.0

    def _head_of_part(self, rows: Tensor) -> EmbeddingHead:
        part = self.only(rows.numpy())
        part._progress = lambda _, *done: self._progress("guard", *done)
        head = part.make_head()
        part.train_head(head)
        return head

    def fine_tune(self, head: EmbeddingHead) -> list[Figures]:
        """Trains a head and the backbone's last stages, or all, on pictures; returns each epoch's figures."""
        config, backbone = self.config, self.backbone.module
        freeze(backbone, config.fine_tune_stages)
        backbone.to(memory_format=torch.channels_last)
        inputs = self._inputs()
        starts = parameters_of(inputs.network), parameters_of(head)
        plan = _plan(self.labels, config, config.fine_tune_epochs, config.fine_tune_batch_size)
        loader = photo_loader(inputs.data, self.labels, plan, config.workers)

        def validate(module: TrainingModule) -> Figures:
            assert module.backbone is not None
            kept = copy.deepcopy(module.backbone), copy.deepcopy(module.head)
            for part, start in zip(kept, starts, strict=True):
                interpolate(part, start, config.fine_tune_share)
            return monitored(inputs.outcome(*kept).figures())

        phase = Phase("fine-tune", plan, loader, inputs.network, validate if self.held_out else None)
        history = self._fit(head, phase)
        for part, start in zip((inputs.network, head), starts, strict=True):
            interpolate(part, start, config.fine_tune_share)
        backbone.to(memory_format=torch.contiguous_format)
        return history

    def _inputs(self) -> Inputs:
        config, backbone, hashes = self.config, self.backbone, self._photo_hashes
        if not config.fine_tune_copies:
            return of_pictures(backbone, self.rows, self.held_out, self.taxonomy, config)
        identity = f"{backbone.weights_sha256} {backbone.preprocess.hash()}"
        report = self._pictures_progress("activations")
        return of_activations(
            backbone, identity, self.rows, self.held_out, hashes, self.taxonomy, config, report
        )

    def outcomes(self, head: EmbeddingHead) -> dict[str, Outcome]:
        """Returns what the network says of training rows (of very many, a part) and validation rows."""
        step = -(-len(self.rows.items) // _TRAINING_ROWS_MEASURED)
        features = self.rows.features[0, ::step]
        with self._on_device(head):
            found = {"train": self._outcome(head, Rows(self.rows.items[::step], features[None]))}
            if self.held_out:
                found["val"] = self._outcome(head, self.held_out)
        return found

    def outcome(self, head: EmbeddingHead, items: Sequence[CatalogItem]) -> Outcome:
        """Returns what the network says of other photos; unreadable ones are left out and listed."""
        return self._outcome(head, self._read(items))

    def only(self, rows: npt.NDArray[np.int64]) -> TrainingRun:
        """Returns a run that trains the head on some of the rows, without a folder and without reporting.

        Its embedding keeps as much of the backbone as that of this run, which comes first.
        """
        part = copy.copy(self)
        alone = {"run_folder": None, "patience": None, "fine_tune": False, "devices": 1}
        share = {"backbone_share": self._backbone_share}
        part.config = self.config.model_copy(update=alone | share)
        part.rows = Rows([self.rows.items[row] for row in rows.tolist()], self.rows.features[:, rows])
        part.held_out = None
        part.labels = make_labels(part.rows, self.taxonomy, part.config)
        part._progress = _unseen
        return part

    def readable(self, items: Sequence[CatalogItem]) -> list[CatalogItem]:
        """Returns those whose photo can be read, of rows that need not be."""
        lacking = [item for item in items if item.item_id not in self._known]
        photos = [item.image_path for item in lacking]
        if lacking:
            config = self.config
            report = self._pictures_progress("features")
            found = self._features.extract(photos, 0, config.augmentation, config.seed, report)
            self._keep(lacking, found.values, found.readable)
        return [item for item in items if item.item_id in self._known]

    def embeddings(self, head: EmbeddingHead, items: Sequence[CatalogItem]) -> npt.NDArray[np.float32]:
        """Returns what the network makes of rows that were read: ``(N, D)`` float32 of unit norm."""
        features = torch.stack([self._known[item.item_id] for item in items])
        with self._on_device(head):
            return self._outcome(head, Rows(list(items), features[None])).embeddings

    def provenance(self) -> dict[str, Any]:
        """Describes the run by what decides its result; no path or time: equal runs differ in them."""
        digest = hashlib.sha256()
        for item in (*self.rows.items, *(self.held_out.items if self.held_out else ())):
            photo = self._photo_hashes[item.image_path]
            row = (item.item_id, item.product_id, photo, item.title, *item.categories)
            digest.update("\x1f".join(row).encode() + b"\x1e")
        return {
            "kind": "trained",
            "architecture": self.config.backbone.architecture,
            "weights_sha256": self.backbone.weights_sha256,
            "catalog_sha256": digest.hexdigest(),
            "trained_on": self.split,
            "rows": len(self.rows.items),
            "settings": self.config.decides(),
        }

    @contextmanager
    def _on_device(self, head: EmbeddingHead) -> Iterator[None]:
        device = torch.device("cuda" if uses_gpu(self.config) else "cpu")
        head.to(device)
        self.backbone.module.to(device)
        yield
        head.cpu()
        self.backbone.module.cpu()

    def _outcome(self, head: EmbeddingHead, rows: Rows) -> Outcome:
        if self.config.is_backbone_alone:
            return Outcome(rows.items, self.taxonomy, rows.features[0].numpy(), ())
        if self.config.fine_tune:
            return self._outcome_of_photos(self.backbone.module, head, rows)
        return self._outcome_of_features(head, rows)

    def _outcome_of_features(self, head: EmbeddingHead, rows: Rows) -> Outcome:
        features = rows.features[0].to(head.projection.weight.device)
        return outcome_of_features(head, features, rows.items, self.taxonomy)

    def _outcome_of_photos(self, backbone: nn.Module, head: EmbeddingHead, rows: Rows) -> Outcome:
        params, threads = self.backbone.preprocess, self.config.thread_count
        mirror = self.backbone.mirror
        return outcome_of_photos(backbone, head, rows.items, self.taxonomy, params, threads, mirror=mirror)

    def _fit(self, head: EmbeddingHead, phase: Phase) -> list[Figures]:
        return fit(
            head,
            self.rows.features[0],
            self.labels,
            self.taxonomy,
            self.config,
            phase,
            lambda done, total, figures: self._progress(phase.name, done, total, figures),
        )

    def _feature_extractor(self) -> FeatureExtractor:
        bundle, threads = backbone_bundle(self.backbone, self.config), self.config.thread_count
        encoder: Encoder
        if uses_gpu(self.config):
            cuda = torch.device("cuda")
            encoder = TorchEncoder(self.backbone.module, cuda, mirror=self.backbone.mirror)
        else:
            encoder = OnnxEncoder(bundle, threads)
        return FeatureExtractor(bundle, encoder, self.config.cache_folder / "features", threads)

    def _pictures_progress(self, stage: str) -> Callable[[int, int], None]:
        """Returns what reports the progress of a stage and its speed since the first call."""
        start: tuple[float, int] | None = None

        def report(done: int, total: int) -> None:
            nonlocal start
            start = start or (time.monotonic(), done)
            seconds, photos = max(1e-9, time.monotonic() - start[0]), done - start[1]
            figures = {"photos_per_second": photos / seconds} if photos else {}
            self._progress(stage, done, total, figures)

        return report

    def _read(self, items: Sequence[CatalogItem], copies: int = 0, *, at_least: int = 0) -> Rows:
        """Returns the readable rows with their features, and lists the others.

        Raises:
            InvalidInputError: Those are more than the settings allow, too few are left, or the backbone
                makes nothing of them.
        """
        photos = [item.image_path for item in items]
        config = self.config
        features = self._features.extract(
            photos, copies, config.augmentation, config.seed, self._pictures_progress("features")
        )
        bad, limit = len(features.problems), config.max_bad_share
        first = ""
        if bad:
            number, problem = next(iter(features.problems.items()))
            first = f"; the first is {items[number].image_path}: {problem}"
        if len(items) - bad < at_least:
            raise InvalidInputError(
                f"training needs {at_least} readable photos; {bad} of {len(items)} cannot be read{first}",
                reason=Reason.CATALOG_INVALID,
            )
        if bad > limit * len(items):
            raise InvalidInputError(
                f"{bad} of {len(items)} photos cannot be read, more than {100 * limit:g}%{first}",
                reason=Reason.CATALOG_INVALID,
            )
        self.bad_photos |= {photos[row]: problem for row, problem in features.problems.items()}
        self._photo_hashes |= zip(photos, features.photo_hashes, strict=True)
        self._keep(items, features.values, features.readable)
        kept = [item for item, good in zip(items, features.readable, strict=True) if good]
        values = features.values[:, features.readable] if bad else features.values
        rows = Rows(kept, torch.from_numpy(values))
        check_features(rows.features.flatten(0, 1), config.backbone)
        return rows

    def _keep(
        self, items: Sequence[CatalogItem], values: npt.NDArray[np.float32], readable: npt.NDArray[np.bool_]
    ) -> None:
        for row in np.flatnonzero(readable).tolist():
            self._known[items[row].item_id] = torch.from_numpy(values[0, row])


def _unseen(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """Keeps to itself how far a part of a run is."""


def _plan(labels: Labels, config: TrainConfig, epochs: int, batch_size: int) -> Plan:
    return Plan(
        labels.classes,
        labels.products,
        sampler=config.sampler,
        batch_size=batch_size,
        photos_per_product=config.photos_per_product,
        epochs=epochs,
        seed=config.seed,
    )


def backbone_bundle(backbone: Backbone, config: TrainConfig) -> Bundle:
    """Loads the backbone's own bundle from the cache, exporting it first where there is none."""
    spec = config.backbone
    parts = [backbone.weights_sha256, backbone.preprocess.hash()]
    parts += ["mirror"] * backbone.mirror + [spec.pooling] * (spec.pooling != "own")
    parts += [f"{spec.feature_stages} stages"] * (spec.feature_stages != 1)
    identity = hashlib.sha256(" ".join(parts).encode()).hexdigest()
    name = re.sub(r"[^\w.-]", "_", spec.architecture)  # a place in a hub or a folder
    folder = config.cache_folder / "backbones" / f"{name}-{identity[:16]}"
    try:
        return load_bundle(folder)
    except InvalidInputError:
        return export_backbone(backbone, config.backbone, folder)


def _check_measurable(held_out: Sequence[CatalogItem]) -> None:
    """Refuses early stopping by rows that give no figure to stop by.

    Raises:
        InvalidInputError: There are none, or they have neither categories nor a product with two photos.
    """
    if not held_out:
        problem = "early stopping needs val rows in the catalogue, or products held out"
    elif len({item.product_id for item in held_out}) == len(held_out) and not any(
        item.categories for item in held_out
    ):
        problem = "early stopping needs val rows that have categories or show products twice"
    else:
        return
    raise InvalidInputError(problem, reason=Reason.CONFIG_INVALID)
