"""What training computes on, and the processes that share it."""

from __future__ import annotations

from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.strategies import DDPStrategy

from embedder.training.config import TrainConfig
from lookalike.errors import InvalidInputError, Reason


def uses_gpu(config: TrainConfig) -> bool:
    """Returns whether training computes on a GPU."""
    return config.accelerator != "cpu" and torch.cuda.is_available()


def check_hardware(config: TrainConfig) -> None:
    """Refuses settings that ask for GPUs that are not there.

    Raises:
        InvalidInputError: They do.
    """
    there = torch.cuda.device_count()
    if config.accelerator == "gpu" and not there:
        problem = "there is no GPU to train on; leave the accelerator to auto"
    elif uses_gpu(config) and config.devices > there:
        problem = f"there are fewer than {config.devices} GPUs here: {there}"
    else:
        return
    raise InvalidInputError(problem, reason=Reason.CONFIG_INVALID)


def trainer_options(config: TrainConfig, *, whole_network: bool) -> dict[str, Any]:
    """Returns what Lightning's ``Trainer`` must know of the hardware and of a network's precision.

    Whether a processor is faster in bfloat16 cannot be told from its name alone: on CPUs it is used where it
    is asked for.
    """
    gpu = uses_gpu(config)
    halved = config.precision == "bfloat16" or (
        config.precision == "auto" and gpu and torch.cuda.is_bf16_supported()
    )
    strategy: DDPStrategy | str = "auto"
    if config.devices > 1:
        # A batch without any product or title leaves proxies and attribute weights unused.
        strategy = DDPStrategy(find_unused_parameters=True, process_group_backend="nccl" if gpu else "gloo")
    return {
        "accelerator": "gpu" if gpu else "cpu",
        "devices": config.devices,
        "strategy": strategy,
        "precision": "bf16-mixed" if whole_network and halved else "32-true",
    }


def is_first_process() -> bool:
    """Returns whether this process is the one that was called, not one that Lightning started."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def end_parallel_training() -> None:
    """Leaves the group of processes, all at the same time; does nothing where there is none."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
