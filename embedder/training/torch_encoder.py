"""The backbone on a GPU, for the features that training starts from."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from embedder.encoder import Encoded
from embedder.model.network import unit_features


class TorchEncoder:
    """Encodes pictures with a backbone in PyTorch.

    Args:
        backbone: Maps ``(B, 3, H, W)`` to features; copied, so that training it changes nothing here.
        device: Where to compute.
        mirror: See :func:`embedder.model.network.unit_features`.
    """

    def __init__(self, backbone: nn.Module, device: torch.device, *, mirror: bool = False) -> None:
        self._backbone = copy.deepcopy(backbone).to(device).eval()
        self._device = device
        self._mirror = mirror

    def encode(self, images: npt.NDArray[np.float32]) -> Encoded:
        """Returns the unit-norm features ``(B, F)`` of prepared pictures ``(B, 3, H, W)``."""
        with _float32(), torch.inference_mode():
            pictures = torch.from_numpy(images).to(self._device)
            features = unit_features(self._backbone, pictures, mirror=self._mirror)
            return Encoded(features.cpu().numpy(), ())


@contextmanager
def _float32() -> Iterator[None]:
    """Keeps convolutions and products from being rounded to TF32, by default or by an earlier call.

    The features are cached together with those of ONNX Runtime, which also serves the model.
    """
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.backends.cuda.matmul.allow_tf32 = products
