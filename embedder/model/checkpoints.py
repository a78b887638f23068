"""Weights from files: of timm, and of other libraries and the networks' own repositories.

A file of another library holds the same numbers under other names, often with a text encoder or a classifier
in addition. What stands before the names of the image encoder's layers is found and left out; names of
open_clip and of Hugging Face's transformers become timm's (:mod:`embedder.model.layouts`); and timm's own
filter for the architecture renames what the original repositories call otherwise, and resamples position
embeddings where the size of the pictures is another. Then every layer must be there, and nothing be left over
but heads.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from embedder.model.layouts import to_timm_names
from lookalike.errors import InvalidInputError, Reason

_HEADS = ("head", "fc.", "classifier", "attn_pool.", "mask_token", "lm_head.", "pre_logits.", "logit_scale")
"""What names of layers begin with that come after the features, or are there for training alone."""
_NAMES_SHOWN = 4

State = dict[str, Tensor]


def load_checkpoint(module: nn.Module, file: Path) -> None:
    """Puts the weights of a file into a network of timm without a classifier.

    Args:
        module: The network.
        file: ``.pth``, ``.pt``, ``.bin`` or ``.safetensors``; or ``.npz`` as Google publishes them.

    Raises:
        InvalidInputError: There is no such file, it is damaged, or it does not fit; the message names layers
            that are missing or left over.
    """
    if not file.is_file():  # timm would print that too
        raise InvalidInputError(f"there is no weights file {file}", reason=Reason.CONFIG_INVALID)
    if file.suffix == ".npz":
        _load_flax(module, file)
        return
    state = _converted(_read(file), module)
    wanted = module.state_dict()
    left_over = [name for name in state if name not in wanted and not name.startswith(_heads(module))]
    # Whatever it is filled with, batch norm does not read it outside of training.
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    other = [name for name, value in state.items() if name in wanted and value.shape != wanted[name].shape]
    problems = [
        *_named("missing", missing),
        *_named("not in the architecture", left_over),
        *_named("of another shape", (f"{name} {_shapes(state[name], wanted[name])}" for name in other)),
    ]
    if problems:
        raise _unfit(module, file, "; ".join(problems))
    module.load_state_dict({name: value for name, value in state.items() if name in wanted}, strict=False)


def _read(file: Path) -> State:
    try:
        state: Any = _content(file)
    except Exception as error:  # unpickling raises whatever a damaged file provokes
        raise _unreadable(file) from error
    while isinstance(state, dict) and (inner := _inner(state)) is not None:
        state = inner
    if not isinstance(state, dict):
        raise InvalidInputError(
            f"the weights file {file.name} holds no state dict", reason=Reason.CONFIG_INVALID
        )
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    cleaned: State = timm.models.clean_state_dict(tensors)
    return cleaned


def _content(file: Path) -> Any:
    if file.suffix == ".safetensors":
        return safetensors.torch.load_file(file)
    # timm's training runs keep their arguments as one.
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(file, map_location="cpu", weights_only=True)


def _inner(state: dict[Any, Any]) -> Any:
    """Returns the network's weights from a checkpoint that holds more; None if it holds them directly."""
    for name in ("state_dict_ema", "model_ema", "state_dict", "model", "module", "teacher", "encoder"):
        if isinstance(state.get(name), dict):
            return state[name]
    return None


def _converted(state: State, module: nn.Module) -> State:
    """Returns a state dict under timm's names, in the shapes of a network, as far as both are known."""
    wanted = module.state_dict()
    state = to_timm_names(state, wanted)
    # A filter fails in its own way on what it was not made for: then the names will tell. One of them prints.
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
        state = _timm_filter(module)(state, module)
    return {name: _reshaped(value, wanted.get(name)) for name, value in state.items()}


def _reshaped(value: Tensor, like: Tensor | None) -> Tensor:
    """Returns a linear layer's weights as those of a convolution of 1 x 1 pixels, or the other way round."""
    same = like is not None and [side for side in value.shape if side > 1] == [s for s in like.shape if s > 1]
    return value.reshape(like.shape) if same and like is not None else value


def _timm_filter(module: nn.Module) -> Callable[[State, nn.Module], State]:
    """Returns what timm itself puts the published weights of an architecture through."""
    architecture = _architecture(module)
    makers = [timm.model_entrypoint(architecture)] if timm.is_model(architecture) else []
    for one in (*makers, type(module)):
        found = getattr(sys.modules[one.__module__], "checkpoint_filter_fn", None)
        if found is not None:
            takes = inspect.signature(found).parameters
            options = {"adapt_layer_scale": True} if "adapt_layer_scale" in takes else {}
            return lambda state, model: found(state, model, **options)
    return lambda state, model: state


def _heads(module: nn.Module) -> tuple[str, ...]:
    """Returns what the names of layers begin with that a network of this kind may do without."""
    config: Any = getattr(module, "pretrained_cfg", {})
    own = config.get("classifier") or ()
    return (*_HEADS, *((own,) if isinstance(own, str) else own))


def _load_flax(module: Any, file: Path) -> None:
    try:
        with zipfile.ZipFile(file):  # NumPy would leave a damaged one open
            module.load_pretrained(str(file))
    except zipfile.BadZipFile as error:
        raise _unreadable(file) from error
    except Exception as error:  # whatever is missing, or of another shape
        raise _unfit(module, file, f"{error}") from error


def _architecture(module: nn.Module) -> str:
    config: Any = getattr(module, "pretrained_cfg", {})
    return str(config.get("architecture", type(module).__name__))


def _named(problem: str, names: Iterable[str]) -> list[str]:
    found = list(names)
    more = f" and {len(found) - _NAMES_SHOWN} more" if len(found) > _NAMES_SHOWN else ""
    return [f"{problem}: {', '.join(found[:_NAMES_SHOWN])}{more}"] if found else []


def _shapes(value: Tensor, like: Tensor) -> str:
    return f"{tuple(value.shape)}, not {tuple(like.shape)}"


def _unreadable(file: Path) -> InvalidInputError:
    return InvalidInputError(
        f"the weights file {file.name} cannot be read; give a .pth or .safetensors state dict",
        reason=Reason.CONFIG_INVALID,
    )


def _unfit(module: nn.Module, file: Path, problem: str) -> InvalidInputError:
    return InvalidInputError(
        f"the weights {file.name} do not fit the architecture {_architecture(module)!r}: {problem}",
        reason=Reason.CONFIG_INVALID,
    )
