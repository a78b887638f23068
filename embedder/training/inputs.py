"""What fine-tuning reads: pictures altered each time, or what reaches the trained stages from kept copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.utils.data import Dataset

from embedder.model.backbone import Backbone
from embedder.model.heads import EmbeddingHead
from embedder.model.taxonomy import Taxonomy
from embedder.training.activations import Activations, AlteredActivations, Report
from embedder.training.config import TrainConfig
from embedder.training.copies import Copies
from embedder.training.data import AlteredPhotos
from embedder.training.devices import uses_gpu
from embedder.training.outcome import Outcome, outcome_of_features, outcome_of_photos
from embedder.training.rows import Rows
from embedder.training.upper import Upper, upper_part
from lookalike.errors import InvalidInputError, Reason

FILE = "activations.sqlite"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What fine-tuning reads, and the network that takes it.

    Attributes:
        network: Maps the inputs to features; what is trained of it is the backbone's own.
        data: Training inputs by ``(step, place, row)``.
        outcome: What a copy of the network, with a head, says of the rows held out.
    """

    network: nn.Module
    data: Dataset[tuple[int, Tensor]]
    outcome: Callable[[nn.Module, EmbeddingHead], Outcome]


def of_pictures(
    backbone: Backbone, rows: Rows, held_out: Rows | None, taxonomy: Taxonomy, config: TrainConfig
) -> Inputs:
    """Returns inputs that are altered differently each time.

    Args:
        backbone: The backbone, frozen as far as it shall be.
        rows: What is trained on.
        held_out: What is validated on, if anything.
        taxonomy: The category tree.
        config: The settings.
    """

    def outcome(network: nn.Module, head: EmbeddingHead) -> Outcome:
        assert held_out
        params, threads = backbone.preprocess, config.thread_count
        mirror = backbone.mirror
        return outcome_of_photos(network, head, held_out.items, taxonomy, params, threads, mirror=mirror)

    photos = [item.image_path for item in rows.items]
    return Inputs(backbone.module, AlteredPhotos(photos, backbone.preprocess, config.seed), outcome)


def of_activations(
    backbone: Backbone,
    identity: str,
    rows: Rows,
    held_out: Rows | None,
    hashes: Mapping[Path, str],
    taxonomy: Taxonomy,
    config: TrainConfig,
    report: Report,
) -> Inputs:
    """Returns inputs of ``fine_tune_copies`` altered copies of each photo, computed once.

    Args:
        backbone: The backbone, frozen but for its last stages.
        identity: Of its weights and preprocessing.
        rows: What is trained on.
        held_out: What is validated on, if anything.
        hashes: SHA-256 of each photo.
        taxonomy: The category tree.
        config: The settings.
        report: Called with the number of pictures done and their total.

    Raises:
        InvalidInputError: The last stages do not run apart from the others, or a photo has changed.
        FailedPreconditionError: The cache cannot be used.
    """
    upper = _parted(backbone, config)
    if uses_gpu(config):
        upper.to("cuda")
    file, copies = config.cache_folder / "features" / FILE, config.fine_tune_copies

    def filled(of: Rows, wanted: range) -> Activations:
        photos = [item.image_path for item in of.items]
        pictures = Copies(photos, [hashes[one] for one in photos], backbone.preprocess, "strong", config.seed)
        activations = Activations(file, pictures, upper, identity)
        activations.fill(upper, wanted, config.thread_count, report)
        return activations

    trained = AlteredActivations(filled(rows, range(1, copies + 1)), copies, config.seed)
    validated = filled(held_out, range(1)) if held_out else None

    def outcome(network: nn.Module, head: EmbeddingHead) -> Outcome:
        assert held_out
        assert validated
        return outcome_of_features(head, validated.features(network), held_out.items, taxonomy)

    return Inputs(upper, trained, outcome)


def _parted(backbone: Backbone, config: TrainConfig) -> Upper:
    assert config.fine_tune_stages is not None
    upper = upper_part(backbone.module, config.fine_tune_stages, backbone.preprocess.size)
    if upper is None:
        raise InvalidInputError(
            f"fine_tune_copies: the last {config.fine_tune_stages} stages of "
            f"{config.backbone.architecture!r} do not run apart from the others; leave it out or train "
            "another number of stages",
            reason=Reason.CONFIG_INVALID,
        )
    return upper
