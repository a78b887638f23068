"""Runs the training steps through Lightning: the head on cached features, or the whole network."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from embedder.model.heads import DeepHierarchicalClassifier, EmbeddingHead, FlatClassifier
from embedder.model.taxonomy import MISSING, Taxonomy
from embedder.training.callbacks import Checkpoints, Diverging, Epochs, Figures, Reporting, Validate
from embedder.training.config import TrainConfig
from embedder.training.data import Labels, MakeLoader
from embedder.training.devices import trainer_options, uses_gpu
from embedder.training.interruption import Interruption
from embedder.training.module import TrainingData, TrainingModule
from embedder.training.objective import Objective
from embedder.training.sampling import Plan
from lookalike.errors import InvalidInputError, Reason
from lookalike.runtime.heap import freed_memory_kept

Report = Callable[[int, int, Mapping[str, float]], None]

_CHECKPOINT_PARTS = {
    *("state_dict", "callbacks", "loops", "optimizer_states", "lr_schedulers", "global_step", "epoch"),
    "pytorch-lightning_version",
}


@dataclass(frozen=True, slots=True)
class Phase:
    """One of the two parts of a run: ``train`` on cached features, ``fine-tune`` on pictures.

    Attributes:
        name: Of its checkpoint and logs.
        plan: The steps.
        make_loader: Loads their batches.
        backbone: What is trained in addition to the head; None for cached features.
        validate: Measures after each epoch; None without validation rows.
    """

    name: str
    plan: Plan
    make_loader: MakeLoader
    backbone: nn.Module | None
    validate: Validate | None


def make_head(features: Tensor, labels: Labels, taxonomy: Taxonomy, config: TrainConfig) -> EmbeddingHead:
    """Builds the head of the settings, its embedding at the discriminative whitening of the features.

    For the backbone alone, which needs none, it stays as it is.

    Args:
        features: ``(copies, N, F)`` float32 of unit norm; the first copy is the unaltered photo.
        labels: Targets of the N rows.
        taxonomy: The category tree.
        config: The settings.
    """
    width = features.shape[2]
    dim = min(width, config.embedding_dim)
    head: EmbeddingHead
    with _seeded(config.seed):
        if config.head == "none" or not taxonomy.paths:
            head = EmbeddingHead(width, 0, dim)
        elif config.head == "flat":
            head = FlatClassifier(width, taxonomy, dim, config.level_width, config.dropout)
        else:
            head = DeepHierarchicalClassifier(width, taxonomy.sizes, dim, config.level_width, config.dropout)
    if config.is_backbone_alone:
        return head.eval()
    with _threads(1):
        groups = _groups(labels.products).repeat(len(features))
        head.start_from(features.flatten(0, 1), groups, config.whitening_shrinkage)
    return head.eval()


def fit(
    head: EmbeddingHead,
    features: Tensor,
    labels: Labels,
    taxonomy: Taxonomy,
    config: TrainConfig,
    phase: Phase,
    report: Report,
) -> list[Figures]:
    """Trains a head (and a backbone) in place with AdamW, a short warm-up and cosine decay.

    Where the run folder holds a checkpoint of this phase, training goes on from it and ends as if it
    had never stopped. With several devices this returns in each of their processes.

    Args:
        head: The head.
        features: ``(N, F)`` float32 of unit norm: the unaltered photos, for the proxies' start.
        labels: Targets of the N rows.
        taxonomy: The category tree.
        config: The settings.
        phase: Which part of the run.
        report: Called after each step.

    Returns:
        Each epoch's mean figures.

    Raises:
        InvalidInputError: Training diverges, or the checkpoint is damaged.
        KeyboardInterrupt: Ctrl-C; the checkpoint is that of the last step.
    """
    with _seeded(config.seed), _threads(1):
        objective = Objective(head, features, labels, taxonomy, config)
    if not objective.has_terms:
        return []
    module = TrainingModule(head, objective, phase.backbone, config, phase.plan.total_steps)
    epochs = Epochs(phase.plan, phase.validate, config.patience)
    checkpoint = config.run_folder / "checkpoints" / f"{phase.name}.ckpt" if config.run_folder else None
    resumed = checkpoint if checkpoint and checkpoint.is_file() else None
    if resumed:
        _check_checkpoint(resumed, module, epochs)
    interruption = Interruption()
    callbacks: list[Callback] = [Diverging(), epochs, Reporting(phase.plan, report), interruption]
    if checkpoint:
        callbacks.append(Checkpoints(checkpoint, config.checkpoint_seconds, interruption))
    # The head is so small that a second thread costs more than it brings on shared cores.
    threads = 1 if phase.backbone is None else config.thread_count
    with _seeded(config.seed), _threads(threads), _quiet():
        trainer = _trainer(config, phase, callbacks)
        module.train()  # Lightning leaves modules in the mode that they come in
        on_cpu = phase.backbone is not None and not uses_gpu(config)
        data = TrainingData(phase.make_loader)
        with interruption.watching(), freed_memory_kept() if on_cpu else nullcontext():
            trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)
    epochs.restore_best(module)
    module.cpu().eval()
    return epochs.history


def _trainer(config: TrainConfig, phase: Phase, callbacks: list[Callback]) -> Trainer:
    return Trainer(
        max_steps=phase.plan.total_steps,
        max_epochs=-1,
        min_epochs=0,
        callbacks=callbacks,
        logger=_logger(config, phase.name),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        **trainer_options(config, whole_network=phase.backbone is not None),
    )


def _check_checkpoint(file: Path, module: TrainingModule, epochs: Epochs) -> None:
    """Refuses a checkpoint that Lightning would fail on, without running any code that it may hold.

    Raises:
        InvalidInputError: It is damaged.
    """
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
        shapes = {name: value.shape for name, value in stored["state_dict"].items()}
        whole = (
            stored.keys() >= _CHECKPOINT_PARTS
            and stored["callbacks"][epochs.state_key].keys() == epochs.state_dict().keys()
            and shapes == {name: value.shape for name, value in module.state_dict().items()}
        )
    except Exception as error:  # unpickling raises whatever a damaged file provokes
        raise _damaged(file) from error
    if not whole:
        raise _damaged(file)


def _damaged(file: Path) -> InvalidInputError:
    return InvalidInputError(
        f"the checkpoint {file} is damaged; start without --resume", reason=Reason.CONFIG_INVALID
    )


def _logger(config: TrainConfig, name: str) -> TensorBoardLogger | bool:
    if config.run_folder is None:
        return False
    return TensorBoardLogger(config.run_folder, name="tensorboard", version=name)


def _groups(products: Tensor) -> Tensor:
    """Number every product, also those with one photo: its augmented copies are a group as well."""
    alone = products.amax() + 1 + torch.arange(len(products))
    return torch.where(products == MISSING, alone, products)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Uses a fixed thread count: it decides the order of summation, and so the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Lightning's remarks about loaders and loggers to itself; errors still pass."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            warnings.filterwarnings("ignore", module=r"torch\.utils\.data")
            warnings.filterwarnings("ignore", module=r"tensorboard")
            yield
    finally:
        logger.setLevel(level)
