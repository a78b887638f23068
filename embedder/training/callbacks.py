"""What happens between steps: epochs are closed, progress is reported, checkpoints are written."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from embedder.training.interruption import Interruption
from embedder.training.module import TrainingModule
from embedder.training.sampling import Plan
from lookalike.errors import InvalidInputError, Reason
from lookalike.files.disk import part_of, put_in_place

Figures = dict[str, float]

Validate = Callable[[TrainingModule], Figures]
"""Measures a module on the validation rows; ``monitor`` is the figure that must rise."""


class Epochs(Callback):
    """Keeps each epoch's mean figures, validates, and stops when the validation figure rises no more.

    Lightning sees the whole run as one epoch, so that a run that resumes in the middle of a pass over
    the rows needs nothing but the number of the step; the passes are counted here.

    Args:
        plan: The steps.
        validate: See :data:`Validate`; None without validation rows.
        patience: See :class:`embedder.training.config.TrainConfig`.
    """

    def __init__(self, plan: Plan, validate: Validate | None, patience: int | None) -> None:
        self._plan = plan
        self._validate = validate
        self._patience = patience
        self._sums: Figures = {}
        self._counts: dict[str, int] = {}
        self._best: dict[str, Tensor] = {}
        self._best_figure = float("-inf")
        self._best_epoch = 0
        self.history: list[Figures] = []

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run needs to go on."""
        return {
            "sums": self._sums,
            "counts": self._counts,
            "history": self.history,
            "best": self._best,
            "best_figure": self._best_figure,
            "best_epoch": self._best_epoch,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned."""
        self._sums, self._counts = state_dict["sums"], state_dict["counts"]
        self.history, self._best = state_dict["history"], state_dict["best"]
        self._best_figure, self._best_epoch = state_dict["best_figure"], state_dict["best_epoch"]

    @property
    def _out_of_patience(self) -> bool:
        return self._patience is not None and len(self.history) - self._best_epoch >= self._patience

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stays stopped where the run had stopped before."""
        del pl_module
        trainer.should_stop = self._out_of_patience

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds up the figures of the step; closes the epoch after its last one."""
        del outputs, batch, batch_idx
        assert isinstance(pl_module, TrainingModule)
        for name, value in pl_module.figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        if trainer.global_step % self._plan.steps_per_epoch:
            return
        figures = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        if self._validate:
            found = self._validate(pl_module)
            figures |= found
            if trainer.logger:
                named = {f"val/{name}": value for name, value in found.items()}
                trainer.logger.log_metrics(named, trainer.global_step)
        self.history.append(figures)
        self._judge(pl_module, figures)
        # Processes that went on alone would wait for the others for ever.
        trainer.should_stop = trainer.strategy.reduce_boolean_decision(self._out_of_patience, all=False)

    def _judge(self, module: TrainingModule, figures: Figures) -> None:
        if self._patience is None or figures["monitor"] <= self._best_figure:
            return
        self._best_figure, self._best_epoch = figures["monitor"], len(self.history)
        self._best = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}

    def restore_best(self, module: TrainingModule) -> None:
        """Goes back to the epoch that validated best, if there was early stopping."""
        if self._best:
            module.load_state_dict(self._best)


class Diverging(Callback):
    """Stops at the first loss that is not a number; must come before what keeps anything of the step."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Raises if the loss is not finite in any of the processes, which would wait for each other."""
        del outputs, batch, batch_idx
        assert isinstance(pl_module, TrainingModule)
        diverged = not math.isfinite(pl_module.figures["loss"])
        if trainer.global_step == trainer.max_steps:  # there is no later loss that would show it
            diverged |= not all(bool(value.isfinite().all()) for value in pl_module.parameters())
        if trainer.strategy.reduce_boolean_decision(diverged, all=False):
            raise InvalidInputError(
                f"training diverged: at step {trainer.global_step} of {trainer.max_steps} the loss is "
                f"{pl_module.figures['loss']:g}; start again with lower learning rates",
                reason=Reason.CONFIG_INVALID,
            )


class Reporting(Callback):
    """Reports each step to the caller: how many are done, the last figures, photos per second.

    Args:
        plan: The steps.
        report: Called with the number of steps done, their total and the figures.
    """

    def __init__(self, plan: Plan, report: Callable[[int, int, Mapping[str, float]], None]) -> None:
        self._plan = plan
        self._report = report
        self._rows = 0
        self._start = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        del trainer, pl_module
        self._rows, self._start = 0, time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Reports a step."""
        del outputs, batch_idx
        assert isinstance(pl_module, TrainingModule)
        self._rows += len(batch.inputs) * trainer.world_size
        rate = self._rows / max(1e-9, time.monotonic() - self._start)
        if trainer.is_global_zero:
            figures = {**pl_module.figures, "photos_per_second": rate}
            self._report(trainer.global_step, self._plan.total_steps, figures)


class Checkpoints(Callback):
    """Writes the state of the run now and then and at its end, whole or not at all.

    Must be the last callback, so that it saves what the others did in the same step.

    Args:
        file: The checkpoint; each one replaces the one before.
        every_seconds: Time between two.
        interruption: What may end training before it is finished.
    """

    def __init__(self, file: Path, every_seconds: float, interruption: Interruption) -> None:
        self._file = file
        self._every = every_seconds
        self._interruption = interruption
        self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves if it is time, on all processes alike."""
        del pl_module, outputs, batch, batch_idx
        due = self._interruption.stopping or time.monotonic() - self._last >= self._every
        if trainer.strategy.reduce_boolean_decision(due, all=False):
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the finished run; an interrupted one was saved at its last step, to go on from there."""
        del pl_module
        if not self._interruption.stopping:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        part = part_of(self._file)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        trainer.save_checkpoint(part)
        if trainer.is_global_zero:
            put_in_place(part, self._file)
        self._last = time.monotonic()
