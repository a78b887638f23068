"""The whole network from prepared pictures to embedding and category probabilities: what is exported."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from embedder.model.heads import EmbeddingHead


class EmbeddingNetwork(nn.Module):
    """A backbone with or without a trained head.

    Args:
        backbone: Maps ``(B, 3, H, W)`` float32 to pooled features ``(B, F)``.
        head: Maps unit-norm features to embedding and class scores. Without one, the embedding is the
            unit-norm feature itself and there are no categories.
    """

    def __init__(self, backbone: nn.Module, head: EmbeddingHead | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encodes pictures.

        Args:
            images: ``(B, 3, H, W)`` float32, prepared.

        Returns:
            ``embedding (B, D)`` of unit norm, then for each level ``(B, C_l)`` probabilities.
        """
        features = functional.normalize(self.backbone(images), dim=-1)
        if self.head is None:
            return (features,)
        output = self.head(features)
        return output.embedding, *(logits.softmax(dim=-1) for logits in output.logits)
