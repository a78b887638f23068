"""Weights between where training started and what it found (Wortsman et al., arXiv 2109.01903).

The start knows photos unlike those trained on, the end those like them. In between both are kept better
than by either: most of the gain, little of the loss.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def parameters_of(module: nn.Module) -> dict[str, Tensor]:
    """Returns copies of a module's parameters by name."""
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


@torch.no_grad()
def interpolate(module: nn.Module, start: Mapping[str, Tensor], share: float) -> None:
    """Leaves a module's parameters only a share of the way from their start.

    Args:
        module: What was trained.
        start: Its parameters before that, by name.
        share: 0 for the start, 1 for what training found.
    """
    for name, parameter in module.named_parameters():
        parameter.copy_(start[name].to(parameter.device).lerp(parameter, share))
