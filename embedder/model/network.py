"""The whole network from prepared pictures to embedding and category probabilities: what is exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedder.model.heads import EmbeddingHead


def unit_features(backbone: nn.Module, images: Tensor, *, mirror: bool) -> Tensor:
    """Returns what a backbone makes of pictures, of unit norm.

    Args:
        backbone: Maps ``(B, 3, H, W)`` to pooled features ``(B, F)``.
        images: ``(B, 3, H, W)``, prepared.
        mirror: Whether a feature is the mean of a picture's and of its mirror image's, again of unit norm.

    Returns:
        ``(B, F)`` float32.
    """
    if not mirror:
        return functional.normalize(_float(backbone(images)), dim=-1)
    both = functional.normalize(_float(backbone(torch.cat([images, images.flip(3)]))), dim=-1)
    # Without naming the size of the batch, which an exported network would then want for ever.
    return functional.normalize(both.reshape(2, -1, both.shape[-1]).sum(0), dim=-1)


def _float(features: Tensor) -> Tensor:
    return features if features.dtype == torch.float32 else features.float()


class EmbeddingNetwork(nn.Module):
    """A backbone with or without a trained head.

    Args:
        backbone: Maps ``(B, 3, H, W)`` float32 to pooled features ``(B, F)``.
        head: Maps unit-norm features to embedding and class scores. Without one, the embedding is the
            unit-norm feature itself and there are no categories.
        mirror: See :func:`unit_features`.
    """

    def __init__(
        self, backbone: nn.Module, head: EmbeddingHead | None = None, *, mirror: bool = False
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.mirror = mirror

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encodes pictures.

        Args:
            images: ``(B, 3, H, W)`` float32, prepared.

        Returns:
            ``embedding (B, D)`` of unit norm, then for each level ``(B, C_l)`` probabilities.
        """
        features = unit_features(self.backbone, images, mirror=self.mirror)
        if self.head is None:
            return (features,)
        output = self.head(features)
        return output.embedding, *(logits.softmax(dim=-1) for logits in output.logits)
