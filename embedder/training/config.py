"""Settings of a training run; the defaults suit catalogues of some thousand photos on two CPU cores."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from embedder.model.backbone import BackboneSpec


def default_cache_folder() -> Path:
    """Return ``lookalike`` in the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lookalike"


class TrainConfig(BaseModel):
    """How to train. Equal settings, catalogue and machine give the same model.

    Attributes:
        backbone: The frozen backbone.
        embedding_dim: Width of the embedding (at most that of the backbone's features).
        level_width: Width of each level's representation.
        dropout: Share of each level's representation dropped while training.
        augmented_copies: Randomly altered copies of every photo to train on beside the original. Each
            costs as much time as the original's features.
        epochs: Passes over the photos.
        batch_size: Photos per step; fewer on small catalogues.
        learning_rate: Peak, after a warm-up over a tenth of the steps; falls to 0 along a cosine.
        weight_decay: Of the level representations and classifiers.
        metric_loss: Loss on product ids that trains the embedding; used where at least two products
            have at least two photos.
        metric_loss_weight: Its weight against the sum of the level losses.
        projection_share: How far the embedding's projection moves from its start (0) to what training
            found (1). In between it keeps what the backbone knows of photos unlike the training photos,
            at little cost on photos like them (weight interpolation, arXiv 2109.01903).
        level_weights: Weights alpha_l of the level losses, from the root down.
        seed: Of initialisation, order and augmentation.
        threads: CPU threads; 0 takes one per core.
        cache_folder: Where the backbone and its features are kept between runs.
        max_bad_share: Share of unreadable photos above which training stops.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: BackboneSpec = BackboneSpec()
    embedding_dim: int = Field(default=256, ge=1)
    level_width: int = Field(default=128, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    augmented_copies: int = Field(default=1, ge=0)
    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=256, ge=2)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    metric_loss: Literal["proxy_anchor", "none"] = "proxy_anchor"
    metric_loss_weight: float = Field(default=1.0, ge=0)
    projection_share: float = Field(default=0.2, ge=0, le=1)
    level_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    seed: int = Field(default=0, ge=0)
    threads: int = Field(default=0, ge=0)
    cache_folder: Path = Field(default_factory=default_cache_folder)
    max_bad_share: float = Field(default=0.01, ge=0, le=1)
