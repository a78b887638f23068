"""The trained last stages of a backbone apart from the frozen ones, which need see a picture only once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from embedder.training.freezing import names_of_last

_TOLERANCE = 1e-4


class _Reached(Exception):  # noqa: N818  # no error
    """Ends a forward pass at the cut."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value


class Upper(nn.Module):
    """A backbone that takes what reaches its trained part in place of pictures.

    The frozen part runs all the same, on one blank picture: so everything around the cut is in place
    whatever the architecture, and next to a batch it costs little.

    Args:
        backbone: The whole network.
        cut: Name of the first module of the trained part.
        size: Side of the backbone's pictures.
    """

    blank: Tensor

    def __init__(self, backbone: nn.Module, cut: str, size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.cut = cut
        self.register_buffer("blank", torch.zeros(1, 3, size, size), persistent=False)

    def forward(self, reached: Tensor) -> Tensor:
        """Returns the features ``(B, F)`` of what :meth:`reached` gave."""

        def swap(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            return (reached, *arguments[1:])

        handle = self.backbone.get_submodule(self.cut).register_forward_pre_hook(swap)
        try:
            features: Tensor = self.backbone(self.blank)
        finally:
            handle.remove()
        return features

    @torch.no_grad()
    def reached(self, pictures: Tensor) -> Tensor:
        """Returns what reaches the trained part from pictures ``(B, 3, H, W)``: ``(B, ...)``."""

        def stop(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            raise _Reached(arguments[0])

        handle = self.backbone.get_submodule(self.cut).register_forward_pre_hook(stop)
        try:
            self.backbone(pictures)
        except _Reached as end:
            return end.value
        finally:
            handle.remove()
        raise AssertionError(f"{self.cut} does not run")


def upper_part(backbone: nn.Module, stages: int, size: int) -> Upper | None:
    """Parts the last stages of a backbone from the others.

    Args:
        backbone: A timm model in evaluation mode.
        stages: How many are trained, see :func:`embedder.training.freezing.freeze`.
        size: Side of its pictures.

    Returns:
        None where the two parts do not make the whole: something bypasses the place between them.
    """
    device = next(backbone.parameters()).device
    pictures = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad():
        cut, features = _first_of(backbone, names_of_last(backbone, stages), pictures)
        if cut is None:
            return None
        upper = Upper(backbone, cut, size).eval().to(device)
        try:
            again = upper(upper.reached(pictures))
        except RuntimeError:  # what bypasses the cut is of one picture, the rest of all
            return None
    same = again.shape == features.shape and torch.allclose(
        again, features, rtol=0, atol=_TOLERANCE * float(features.abs().max())
    )
    return upper if same else None


def _first_of(backbone: nn.Module, trained: set[str], pictures: Tensor) -> tuple[str | None, Tensor]:
    """Returns the first module to run that has trained parameters alone, and the network's features."""
    ran: list[str] = []
    handles = []
    for name, module in backbone.named_modules():
        inner = {f"{name}.{parameter}" for parameter, _ in module.named_parameters()}
        if name and inner and inner <= trained:
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: ran.append(name)))
    try:
        features: Tensor = backbone(pictures)
    finally:
        for handle in handles:
            handle.remove()
    return (ran[0] if ran else None), features
