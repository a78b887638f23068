"""Settings of a training run; the defaults suit catalogues of some thousand photos on two CPU cores."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from embedder.model.backbone import BackboneSpec
from embedder.training.augment import Augmentation
from lookalike.errors import InvalidInputError, Reason
from lookalike.runtime.cpus import available_cpus

_TRAINED = (
    *("level_width", "dropout", "epochs", "batch_size", "learning_rate", "weight_decay", "metric_loss"),
    *("title_loss", "sampler", "projection_share", "fine_tune", "patience"),
)
_FINE_TUNING = (
    *("fine_tune_stages", "fine_tune_copies", "fine_tune_epochs", "fine_tune_batch_size"),
    *("fine_tune_share", "fine_tune_learning_rate", "backbone_learning_rate", "precision", "workers"),
)
# Settings, when they are read, and how to say that.
_READ_IF: tuple[tuple[tuple[str, ...], Callable[[TrainConfig], bool], str], ...] = (
    (_TRAINED, lambda config: config.head != "none", "a head that is trained"),
    (("whitening",), lambda config: config.head == "none", "head none"),
    (
        ("class_balance", "dependence_weight", "level_weights"),
        lambda config: config.head == "hierarchical",
        "head hierarchical",
    ),
    (
        ("embedding_dim", "augmented_copies", "whitening_shrinkage"),
        lambda config: not config.is_backbone_alone,
        "a head that is trained, or whitening",
    ),
    (("metric_loss_weight",), lambda config: config.metric_loss != "none", "a metric_loss"),
    (
        ("hard_negatives",),
        lambda config: config.metric_loss not in ("none", "himulcon"),
        "a metric_loss other than himulcon",
    ),
    (("title_loss_weight", "title_min_count"), lambda config: config.title_loss != "none", "a title_loss"),
    (("photos_per_product",), lambda config: config.sampler == "product", "sampler product"),
    (("backbone_share",), lambda config: config.head != "none" and not config.fine_tune, "a frozen backbone"),
    (_FINE_TUNING, lambda config: config.fine_tune, "fine_tune"),
    (("fine_tune_copies",), lambda config: config.fine_tune_stages is not None, "fine_tune_stages"),
    (
        ("augmentation",),
        lambda config: not config.is_backbone_alone and config.augmented_copies > 0,
        "augmented_copies",
    ),
)
_OFF = (0, None, "none", "auto")
# Far above what helps, and low enough that a slip of the pen does not take the machine down.
_MOST_THREADS, _MOST_PROCESSES, _MOST_EPOCHS, _MOST_COPIES = 1024, 256, 100_000, 1000
_MOST_ROWS, _WIDEST = 1_000_000, 65_536

Weight = Annotated[float, Field(ge=0)]


def default_cache_folder() -> Path:
    """Returns ``lookalike`` in the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lookalike"


class TrainConfig(BaseModel):
    """How to train. Equal settings, catalogue and machine give the same model.

    Settings that contradict each other raise :class:`lookalike.errors.InvalidInputError`.

    Attributes:
        backbone: The backbone that training starts from.
        head: ``hierarchical`` (Deep Hierarchical Classification); or a baseline: ``flat`` (one softmax
            over the ends of the tree, marginalised up it) or ``none`` (the backbone's own features).
        whitening: With ``head="none"``: project the features onto their discriminative whitening, as the
            other heads do at their start.
        whitening_shrinkage: How much of the identity is added to the covariance within products that the
            whitening divides by, as a multiple of its mean eigenvalue. Less tells the products trained on
            apart better, more those that were not.
        embedding_dim: Width of the embedding (at most that of the backbone's features).
        level_width: Width of each level's representation.
        dropout: Share of each level's representation dropped while training.
        augmented_copies: Randomly altered copies of every photo whose features are trained on in addition to
            the original's. Each costs as much time as the original's features.
        augmentation: How copies are altered: ``mild`` crops, mirrors and changes the light a little;
            ``strong`` does what fine-tuning does, between photos and studio pictures.
        epochs: Passes over the cached features, with the backbone frozen.
        batch_size: Photos per step; fewer on small catalogues.
        learning_rate: Peak, after a warm-up over a tenth of the steps; falls to 0 along a cosine.
        weight_decay: Of all but biases, norms, proxies and the embedding's projection.
        level_weights: Weights alpha_l of the layer losses, from the root down.
        class_balance: Beta of the effective number of samples (CVPR 2019) that weighs classes in the
            layer losses: 0 weighs all alike, towards 1 the inverse of their frequency.
        dependence_weight: Weight beta of the dependence loss between neighbouring levels.
        metric_loss: Loss on product ids that trains the embedding; used where at least two products
            have at least two photos. ``himulcon`` contrasts at every level of the tree and on products.
        metric_loss_weight: Its weight against the sum of the layer losses.
        hard_negatives: Metric losses learn from mined hard pairs only; not for ``himulcon``.
        identity: What counts as one product: its ``product`` id, or a ``pseudo`` id of near-equal
            photos or equal titles within a category.
        title_loss: Words that recur in titles as further targets: with one ``softmax``, a ``bce`` each,
            or ``none``.
        title_loss_weight: Its weight.
        title_min_count: Titles that a word must occur in to be a target.
        sampler: Rows of a batch: ``shuffle`` takes each once an epoch; ``class`` draws classes evenly;
            ``product`` takes each once, with ``photos_per_product`` of a product side by side.
        photos_per_product: K of the P x K batches of ``sampler="product"``.
        projection_share: How far the embedding's projection moves from its start (0) to what training
            found (1). In between it keeps what the backbone knows of photos unlike the training photos,
            at little cost on photos like them (weight interpolation, arXiv 2109.01903).
        backbone_share: How much of the embedding's similarity is that of the backbone's centred features,
            where it stays frozen. ``auto`` takes the least share with which products held out are found no
            worse than by the backbone; for that two further heads are trained, on half of the products each.
        fine_tune: Train the backbone as well, after the head, on pictures that are altered again each time.
        fine_tune_stages: Only that many last stages of the backbone; None trains the whole.
        fine_tune_copies: With ``fine_tune_stages``: go through that many altered copies of every photo again
            and again, with what reaches the trained stages kept on disk; 0 alters photos again each time.
        fine_tune_epochs: Passes over the photos while fine-tuning.
        fine_tune_batch_size: Photos per step while fine-tuning.
        fine_tune_share: How far fine-tuning moves the network from where the head's training left it (0)
            to what it found (1), see ``projection_share``.
        fine_tune_learning_rate: Peak for the head while fine-tuning.
        backbone_learning_rate: Peak for the backbone.
        precision: Of the network while fine-tuning: ``bfloat16`` for its products and convolutions (weights
            stay ``float32``); ``auto`` takes it on GPUs that have it.
        workers: Processes that prepare pictures while fine-tuning; 0 prepares them in the main process.
        hold_out: Share of the products whose photos are kept from training to validate on, where the
            catalogue has no ``val`` rows; not with ``identity="pseudo"``.
        patience: Epochs without a better validation figure after which training stops and goes back to
            the best; None trains to the end.
        accelerator: ``auto`` takes a GPU where there is one.
        devices: GPUs (or processes, on the CPU) to train on in parallel; batches are split among them.
        seed: Of initialisation, order and augmentation.
        threads: CPU threads; 0 takes one per core.
        cache_folder: Where the backbone and its features are kept between runs.
        run_folder: Where checkpoints, TensorBoard logs and the report go; None writes none.
        checkpoint_seconds: Time between checkpoints.
        max_bad_share: Share of unreadable photos above which training stops.
        match_calibration: Calibrate how likely hits are the same product; a frozen backbone's head is trained
            up to five times more for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    backbone: BackboneSpec = BackboneSpec()
    head: Literal["hierarchical", "flat", "none"] = "hierarchical"
    whitening: bool = False
    whitening_shrinkage: float = Field(default=0.2, ge=0)
    embedding_dim: int = Field(default=256, ge=1, le=_WIDEST)
    level_width: int = Field(default=128, ge=1, le=_WIDEST)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    augmented_copies: int = Field(default=1, ge=0, le=_MOST_COPIES)
    augmentation: Augmentation = "mild"
    epochs: int = Field(default=20, ge=1, le=_MOST_EPOCHS)
    batch_size: int = Field(default=256, ge=2, le=_MOST_ROWS)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    level_weights: tuple[Weight, Weight, Weight] = (1.0, 1.0, 1.0)
    class_balance: float = Field(default=0.0, ge=0, lt=1)
    dependence_weight: float = Field(default=0.8, ge=0, le=1)
    metric_loss: Literal["proxy_anchor", "arcface", "supcon", "himulcon", "none"] = "proxy_anchor"
    metric_loss_weight: float = Field(default=1.0, ge=0)
    hard_negatives: bool = False
    identity: Literal["product", "pseudo"] = "product"
    title_loss: Literal["softmax", "bce", "none"] = "none"
    title_loss_weight: float = Field(default=0.5, ge=0)
    title_min_count: int = Field(default=10, ge=1)
    sampler: Literal["shuffle", "class", "product"] = "shuffle"
    photos_per_product: int = Field(default=4, ge=2, le=_MOST_ROWS)
    projection_share: float = Field(default=0.2, ge=0, le=1)
    backbone_share: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = "auto"
    fine_tune: bool = False
    fine_tune_stages: int | None = Field(default=None, ge=1)
    fine_tune_copies: int = Field(default=0, ge=0, le=_MOST_COPIES)
    fine_tune_epochs: int = Field(default=10, ge=1, le=_MOST_EPOCHS)
    fine_tune_batch_size: int = Field(default=64, ge=2, le=_MOST_ROWS)
    fine_tune_share: float = Field(default=0.5, ge=0, le=1)
    fine_tune_learning_rate: float = Field(default=1e-3, gt=0)
    backbone_learning_rate: float = Field(default=2e-4, gt=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    workers: int = Field(default=0, ge=0, le=_MOST_PROCESSES)
    hold_out: float = Field(default=0.0, ge=0, lt=1)
    patience: int | None = Field(default=None, ge=1)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = Field(default=1, ge=1, le=_MOST_PROCESSES)
    # The order of rows follows from 32 bits of it: larger seeds would repeat the order of smaller ones.
    seed: int = Field(default=0, ge=0, lt=2**32)
    threads: int = Field(default=0, ge=0, le=_MOST_THREADS)
    cache_folder: Path = Field(default_factory=default_cache_folder)
    run_folder: Path | None = None
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    max_bad_share: float = Field(default=0.01, ge=0, le=1)
    match_calibration: bool = True

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        values = value if isinstance(value, list | tuple) else (value,)
        is_switch = info.field_name is not None and cls.model_fields[info.field_name].annotation is bool
        if not is_switch and any(isinstance(one, bool) for one in values):
            raise PydanticCustomError("not_a_switch", "Input should not be true or false")
        return value

    @model_validator(mode="after")
    def _checked(self) -> Self:
        return self.check()

    def check(self) -> Self:
        """Refuses settings that contradict each other; call it after ``model_copy``, which does not.

        Raises:
            InvalidInputError: A setting was given that the others leave unread, or all levels weigh nothing.
        """
        for names, is_read, what in _READ_IF:
            unread = [name for name in names if name in self.model_fields_set]
            unread = [name for name in unread if getattr(self, name) not in _OFF]
            if unread and not is_read(self):
                raise InvalidInputError(
                    f"{' and '.join(unread)}: read only with {what}; leave that out or change this",
                    reason=Reason.CONFIG_INVALID,
                )
        if not any(self.level_weights):
            raise InvalidInputError(
                "level_weights: one of them must be above 0",
                reason=Reason.CONFIG_INVALID,
            )
        if self.hold_out and self.identity == "pseudo":
            raise InvalidInputError(
                "hold_out: keeps products apart by their ids, which identity pseudo says are not to be "
                "relied on; mark val rows in the catalogue instead",
                reason=Reason.CONFIG_INVALID,
            )
        return self

    @property
    def is_backbone_alone(self) -> bool:
        """Whether the model is the backbone's own features, with nothing trained on them."""
        return self.head == "none" and not self.whitening

    @property
    def thread_count(self) -> int:
        """CPU threads to compute with."""
        return self.threads or available_cpus()

    def decides(self) -> dict[str, object]:
        """Returns the settings that decide which model comes out; not where files go or who computes.

        Of the backbone, only what was chosen: architecture and weights have an identity of their own.
        """
        settings = self.model_dump(
            mode="json",
            exclude={
                "backbone", "cache_folder", "run_folder", "threads", "workers", "checkpoint_seconds",
                "accelerator", "max_bad_share",
            },
        )  # fmt: skip
        return settings | self.backbone.choices()


def make_config(settings: dict[str, Any]) -> TrainConfig:
    """Builds settings from what a person wrote.

    Args:
        settings: Values by name, as :class:`TrainConfig` has them or as text or JSON can give them.

    Raises:
        InvalidInputError: There is no such setting, or a value does not fit.
    """
    try:
        return TrainConfig(**settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, TrainConfig.model_fields, n=1)
            problem = "there is no such setting" + (f"; did you mean {near[0]}?" if near else "")
        else:
            problem = f"{first['msg']}, not {first['input']!r}"
        raise InvalidInputError(f"{name}: {problem}", reason=Reason.CONFIG_INVALID) from error
