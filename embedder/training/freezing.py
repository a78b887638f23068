"""What of a backbone is trained: its last stages, and none of its batch norms."""

from __future__ import annotations

from typing import Any

from torch import nn

from embedder.model.stages import StagedFeatures


def freeze(backbone: nn.Module, stages: int | None) -> None:
    """Leaves only the last stages of a backbone to be trained, and none of its batch norms.

    Args:
        backbone: A timm model, or features of its stages, which are the groups by which timm assigns learning
            rates.
        stages: How many; None for all.
    """
    if stages is not None:
        trained = names_of_last(backbone, stages)
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_(name in trained)
    for module in backbone.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.requires_grad_(False)


def names_of_last(backbone: nn.Module, stages: int) -> set[str]:
    """Returns the names of all parameters of the last stages, numbered by timm's own grouping."""
    from timm.models import group_parameters

    network, prefix = backbone, ""
    if isinstance(backbone, StagedFeatures):
        network, prefix = backbone.network, "network."
    names = [name for name, _ in network.named_parameters()]
    matcher: Any = getattr(network, "group_matcher")(coarse=True)  # noqa: B009  # untyped in timm
    layers = group_parameters(network, matcher, reverse=True)
    group_of = {name: int(layers[name]) for name in names}
    last = sorted(set(group_of.values()))[-stages:]
    return {f"{prefix}{name}" for name, group in group_of.items() if group in last}
