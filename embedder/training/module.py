"""The training step, for cached features and for pictures alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from embedder.model.heads import EmbeddingHead
from embedder.training.config import TrainConfig
from embedder.training.data import Batch, MakeLoader
from embedder.training.objective import Objective
from embedder.training.sampling import seeded

GRADIENT_NORMS_EVERY = 10
"""Steps between two logged gradient norms, which cost a backward pass through the head per term."""


class TrainingModule(LightningModule):
    """A head, with or without its backbone, that learns an objective with AdamW.

    Args:
        head: Maps features to embedding and class scores.
        objective: What is minimised.
        backbone: Trained as well as far as it is not frozen, in evaluation mode (batch norm keeps its
            statistics); maps the batches' inputs to features. None where the inputs are features.
        config: The settings.
        total_steps: Length of the run.
    """

    def __init__(
        self,
        head: EmbeddingHead,
        objective: Objective,
        backbone: nn.Module | None,
        config: TrainConfig,
        total_steps: int,
    ) -> None:
        super().__init__()
        self.head = head
        self.objective = objective
        self.backbone = backbone
        self._config = config
        self._total_steps = total_steps
        self.figures: dict[str, float] = {}

    def train(self, mode: bool = True) -> TrainingModule:
        """Switches to training; the backbone's batch norm stays in evaluation mode."""
        super().train(mode)
        if self.backbone is not None:
            self.backbone.eval()
        return self

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Draws this step's dropout from the step's own number, however the run got here."""
        del batch, batch_idx
        seed = seeded(self._config.seed, self.global_step, self.global_rank, 1).initial_seed()
        torch.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the loss of a batch."""
        del batch_idx
        inputs = batch.inputs
        if self.backbone is not None:
            if inputs.ndim == 4:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            inputs = functional.normalize(self.backbone(inputs).float(), dim=-1)
        # The head is small and its softmaxes and logarithms want float32.
        with torch.autocast(self.device.type, enabled=False):
            terms = self.objective(self.head(inputs), batch)
            loss = torch.stack(list(terms.values())).sum()
        self.figures = {"loss": float(loss.detach())}
        self.figures |= {name: float(term.detach()) for name, term in terms.items()}
        if self.global_step % GRADIENT_NORMS_EVERY == 0:
            self.figures |= gradient_norms(terms, self.head.parameters())
        self.log_dict({f"train/{name}": value for name, value in self.figures.items()})
        return loss

    def configure_optimizers(self) -> Any:
        """Returns AdamW with a learning rate for the head and one for the backbone, and their schedule."""
        config = self._config
        rate = config.learning_rate if self.backbone is None else config.fine_tune_learning_rate
        # Decay would pull the embedding away from the whitening that it starts at.
        kept = [*self.head.projection.parameters(), *self.objective.parameters()]
        groups: list[dict[str, Any]] = [{"params": kept, "weight_decay": 0.0, "lr": rate}]
        among = {id(parameter) for parameter in kept}
        groups += decayed_and_not((p for p in self.head.parameters() if id(p) not in among), rate)
        if self.backbone is not None:
            trained = (p for p in self.backbone.parameters() if p.requires_grad)
            groups += decayed_and_not(trained, config.backbone_learning_rate)
        groups = [group for group in groups if group["params"]]
        optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up_then_cosine(self._total_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class TrainingData(LightningDataModule):
    """Loads the steps that are left."""

    def __init__(self, make_loader: MakeLoader) -> None:
        super().__init__()
        self._make_loader = make_loader

    def train_dataloader(self) -> DataLoader[Batch]:
        """Returns the loader of the steps from the trainer's present one on."""
        trainer = self.trainer
        assert trainer is not None
        return self._make_loader(trainer.global_step, trainer.global_rank, trainer.world_size)


def decayed_and_not(parameters: Iterable[nn.Parameter], rate: float) -> list[dict[str, Any]]:
    """Returns two groups: matrices and kernels, and without decay the vectors: biases and norms."""
    vectors: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in parameters:
        (vectors if parameter.ndim == 1 else others).append(parameter)
    return [{"params": vectors, "weight_decay": 0.0, "lr": rate}, {"params": others, "lr": rate}]


def gradient_norms(terms: dict[str, Tensor], parameters: Iterable[nn.Parameter]) -> dict[str, float]:
    """Returns for each term the norm of its gradient over the given parameters, as ``gradient/TERM``."""
    wanted = list(parameters)
    norms = {}
    for name, term in terms.items():
        # A miner that finds no pair gives a constant 0.
        found = (
            torch.autograd.grad(term, wanted, retain_graph=True, allow_unused=True)
            if term.requires_grad
            else ()
        )
        squares = [gradient.square().sum() for gradient in found if gradient is not None]
        norms[f"gradient/{name}"] = float(torch.stack(squares).sum().sqrt()) if squares else 0.0
    return norms


def warm_up_then_cosine(steps: int) -> Callable[[int], float]:
    """Returns the learning rate's factor by step: up over a tenth of the steps, then a cosine to 0."""
    warm_up = max(1, steps // 10)

    def factor(step: int) -> float:
        return min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps)))

    return factor
