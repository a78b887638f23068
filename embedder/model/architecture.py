"""Networks of timm by name, without weights or with downloaded ones, for pictures of a wanted size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from lookalike.errors import InvalidInputError, Reason

_USUAL_STEP = 32
"""Networks that have no patches halve a picture five times."""


def check_architecture(name: str) -> None:
    """Refuses what names no network.

    Args:
        name: One of ``timm.list_models()``, with or without a tag; ``hf-hub:`` and a repository; or
            ``local-dir:`` and a folder that was made from such a repository.

    Raises:
        InvalidInputError: There is none, or its description cannot be had or is another library's.
    """
    source, _, place = name.partition(":")
    if source not in ("hf-hub", "local-dir"):
        if not timm.is_model(name):
            raise InvalidInputError(
                f"timm has no model named {name!r}; see timm.list_models()", reason=Reason.CONFIG_INVALID
            )
        return
    try:
        described = _described_by_hub(place) if source == "hf-hub" else _described_in(Path(place))
    except KeyError as error:
        raise InvalidInputError(
            f"{name!r} holds no model of timm; give --backbone the name that timm has for its architecture, "
            "and --backbone-weights the file with its weights",
            reason=Reason.CONFIG_INVALID,
        ) from error
    except Exception as error:  # the hub's client raises many unrelated types
        raise InvalidInputError(
            f"the description of {name!r} cannot be read: {error}", reason=Reason.CONFIG_INVALID
        ) from error
    if not timm.is_model(described):
        raise InvalidInputError(
            f"{name!r} is of the architecture {described!r}, which this timm does not have",
            reason=Reason.CONFIG_INVALID,
        )


def build(architecture: str, input_size: int = 0, *, pretrained: bool = False) -> Any:
    """Makes a network without a classifier: its output is what the classifier would see.

    Args:
        architecture: A name that :func:`check_architecture` takes.
        input_size: Side of its pictures in pixels; 0 for its own.
        pretrained: Whether timm downloads its weights, and resamples those that belong to places in the
            picture.

    Raises:
        Exception: Whatever the architecture, for a size that does not suit it, or the download raises.
    """
    if input_size:
        try:
            return timm.create_model(architecture, pretrained=pretrained, num_classes=0, img_size=input_size)
        except TypeError as error:
            # Without that argument it takes pictures of any size, or of its own alone: the first will tell.
            if "img_size" not in str(error):
                raise
    return timm.create_model(architecture, pretrained=pretrained, num_classes=0)


def check_size(architecture: str, size: int) -> None:
    """Refuses a size of pictures that a network cannot take.

    Raises:
        InvalidInputError: It names some that fit.
    """
    if _takes(architecture, size, "cpu"):
        return
    module = build(architecture)
    step = _patch(module) if _patch(module) > 1 else _USUAL_STEP
    own = int(module.pretrained_cfg["input_size"][-1])
    below = size // step * step
    near = sorted({below, below + step, own} - {0})
    # Without memory for its weights a network is made and tried in no time.
    fitting = [str(one) for one in near if one == own or _takes(architecture, one, "meta")]
    raise InvalidInputError(
        f"{architecture!r} takes no pictures of {size} x {size} pixels; sizes that fit: {', '.join(fitting)}",
        reason=Reason.CONFIG_INVALID,
    )


def _takes(architecture: str, size: int, device: str) -> bool:
    try:
        with torch.device(device), torch.no_grad():
            module = build(architecture, size).eval()
            # Patches that are cut off at the edge would not be noticed.
            return size % _patch(module) == 0 and bool(module(torch.zeros(1, 3, size, size)).ndim == 2)
    except Exception:  # architectures raise whatever their layers do
        return False


def _patch(module: nn.Module) -> int:
    """Returns the side of a network's patches, 1 if it has none."""
    patch: Any = getattr(getattr(module, "patch_embed", None), "patch_size", 1)
    return int(patch if isinstance(patch, int) else patch[0])


def _described_by_hub(repository: str) -> str:
    """Returns the architecture of a model in a repository of the Hugging Face hub."""
    _, architecture, _ = timm.models.load_model_config_from_hf(repository)
    return str(architecture)


def _described_in(folder: Path) -> str:
    """Returns the architecture of a model in a copy of such a repository."""
    return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["architecture"])
