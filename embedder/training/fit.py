"""Runs the training steps through Lightning: the head on cached features, or the whole network."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from embedder.model.heads import DeepHierarchicalClassifier, EmbeddingHead, FlatClassifier
from embedder.model.taxonomy import MISSING, Taxonomy
from embedder.training.callbacks import Checkpoints, Epochs, Figures, Reporting, Validate
from embedder.training.config import TrainConfig
from embedder.training.data import Labels, MakeLoader
from embedder.training.memory import freed_memory_kept
from embedder.training.module import TrainingData, TrainingModule
from embedder.training.objective import Objective
from embedder.training.sampling import Plan
from lookalike.errors import InvalidInputError, Reason

Report = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True, slots=True)
class Phase:
    """One of the two parts of a run: ``train`` on cached features, ``fine-tune`` on pictures.

    Attributes:
        name: Of its checkpoint and logs.
        plan: The steps.
        make_loader: Loads their batches.
        backbone: What is trained beside the head; None for cached features.
        validate: Measures after each epoch; None without validation rows.
    """

    name: str
    plan: Plan
    make_loader: MakeLoader
    backbone: nn.Module | None
    validate: Validate | None


def make_head(features: Tensor, labels: Labels, taxonomy: Taxonomy, config: TrainConfig) -> EmbeddingHead:
    """Build the head of the settings, its embedding at the discriminative whitening of the features.

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
    with _threads(1):
        head.start_from(features.flatten(0, 1), _groups(labels.products).repeat(len(features)))
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
    """Train a head (and a backbone) in place with AdamW, a short warm-up and cosine decay.

    Where the run folder holds a checkpoint of this phase, training goes on from it and ends as if it
    had never stopped. With several devices this returns in each of their processes.

    Args:
        head: The head.
        features: ``(N, F)`` float32 of unit norm: the unaltered photos, for the proxies' start.
        labels: Targets of the N rows.
        taxonomy: The category tree.
        config: The settings.
        phase: Which part of the run.
        report: Told of each step.

    Returns:
        Each epoch's mean figures.
    """
    with _seeded(config.seed), _threads(1):
        objective = Objective(head, features, labels, taxonomy, config)
    if not objective.has_terms:
        return []
    module = TrainingModule(head, objective, phase.backbone, config, phase.plan.total_steps)
    epochs = Epochs(phase.plan, phase.validate, config.patience)
    checkpoint = config.run_folder / "checkpoints" / f"{phase.name}.ckpt" if config.run_folder else None
    callbacks = [epochs, Reporting(phase.plan, report)]
    callbacks += [Checkpoints(checkpoint, config.checkpoint_seconds)] if checkpoint else []
    # The head is so small that a second thread costs more than it brings on shared cores.
    threads = 1 if phase.backbone is None else config.threads or os.cpu_count() or 1
    with _seeded(config.seed), _threads(threads), _quiet():
        trainer = Trainer(
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
            **_hardware(config, phase),
        )
        resumed = checkpoint if checkpoint and checkpoint.is_file() else None
        module.train()  # Lightning leaves modules in the mode that they come in
        on_cpu = phase.backbone is not None and not uses_gpu(config)
        with _interruptible(), freed_memory_kept() if on_cpu else nullcontext():
            trainer.fit(module, datamodule=TrainingData(phase.make_loader), ckpt_path=resumed)
    epochs.restore_best(module)
    module.cpu().eval()
    return epochs.history


def is_first_process() -> bool:
    """Tell whether this process is the one that was called, not one that Lightning started beside it."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def end_parallel_training() -> None:
    """Take leave of the other processes, all at the same time; does nothing where there are none."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def uses_gpu(config: TrainConfig) -> bool:
    """Tell whether training computes on a GPU."""
    return config.accelerator != "cpu" and torch.cuda.is_available()


def check_hardware(config: TrainConfig) -> None:
    """Refuse settings that ask for GPUs that are not there.

    Raises:
        InvalidInputError: They do.
    """
    there = torch.cuda.device_count()
    if config.accelerator == "gpu" and not there:
        problem = "There is no GPU to train on; leave the accelerator to auto."
    elif uses_gpu(config) and config.devices > there:
        problem = f"There are fewer than {config.devices} GPUs here: {there}."
    else:
        return
    raise InvalidInputError(problem, reason=Reason.CONFIG_INVALID)


def _hardware(config: TrainConfig, phase: Phase) -> dict[str, Any]:
    gpu = uses_gpu(config)
    mixed = gpu and phase.backbone is not None and torch.cuda.is_bf16_supported()
    # A batch without any product or title leaves proxies and attribute weights unused.
    several = DDPStrategy(find_unused_parameters=True, process_group_backend="nccl" if gpu else "gloo")
    return {
        "accelerator": "gpu" if gpu else "cpu",
        "devices": config.devices,
        "strategy": several if config.devices > 1 else "auto",
        "precision": "bf16-mixed" if mixed else "32-true",
    }


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
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C be the KeyboardInterrupt that it is everywhere else.

    Lightning turns it into an exit with status 1, and ignores those that follow.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with that many threads, whatever the process is set to: others sum in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's remarks about loaders and loggers to itself; errors still pass."""
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
