"""What ``benchmarks.embedder`` measures on a GPU with PyTorch."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["gpu_name", "in_bfloat16", "training"]

_WARM_UP_STEPS = 3


class _InBfloat16(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = module.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            features: Tensor = self._module(images.contiguous(memory_format=torch.channels_last))
        return features.float()


def in_bfloat16(module: nn.Module) -> nn.Module:
    """The same module as training runs it on a GPU: bfloat16, channels last. Triton serves float32."""
    return _InBfloat16(module)


def gpu_name() -> str:
    """The GPU's name; empty if there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def training(
    backbone: nn.Module, size: int, batches: tuple[int, ...], seconds: float
) -> list[dict[str, Any]]:
    """Images/s of whole training steps of a backbone, pictures on the GPU already: forward, backward, SGD."""
    device = torch.device("cuda")
    network = in_bfloat16(backbone.train()).to(device)
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9)
    rows = []
    for batch in batches:
        images = torch.randn(batch, 3, size, size, device=device)

        def step(images: Tensor = images) -> None:
            optimiser.zero_grad(set_to_none=True)
            network(images).square().mean().backward()
            optimiser.step()

        for _ in range(_WARM_UP_STEPS):
            step()
        torch.cuda.synchronize()
        start, steps = time.perf_counter(), 0
        while steps < _WARM_UP_STEPS or time.perf_counter() < start + seconds:
            step()
            torch.cuda.synchronize()
            steps += 1
        rate = batch * steps / (time.perf_counter() - start)
        rows.append({"device": gpu_name(), "batch": batch, "images_per_second": rate, "steps": steps})
    return rows
