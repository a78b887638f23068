"""Features of several depths of a network, side by side.

What a network says at its end is made for the classes that it was trained on. The stage before keeps more of
what tells other things apart, and costs nothing more, as it is computed on the way (hypercolumns: Hariharan
et al., arXiv 1411.5752).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class StagedFeatures(nn.Module):
    """A network's own feature followed by the means of the stages before it, each of unit norm.

    Args:
        network: A timm model without a classifier.
        stages: How many parts the feature has, 2 or more. Where the last stage is what the network's own
            feature is pooled from, it is left out.

    Raises:
        Exception: Whatever networks raise that do not give their stages.
        ValueError: The network has too few.
    """

    def __init__(self, network: Any, stages: int) -> None:
        super().__init__()
        self.network = network
        widths = [int(stage["num_chs"]) for stage in network.feature_info]
        last = len(widths) - (widths[-1] == network.num_features)
        if last < stages - 1:
            raise ValueError(f"it has {last} stages before its own feature")
        self._before = list(range(last - 1, last - stages, -1))

    def forward(self, images: Tensor) -> Tensor:
        """Returns ``(B, F)`` of prepared pictures ``(B, 3, H, W)``, float32; F is the sum of the widths."""
        final, found = self.network.forward_intermediates(images, indices=self._before)
        own = self.network.forward_head(final, pre_logits=True)
        # They come in the order of the network.
        parts = [own, *(one.mean((2, 3)) for one in reversed(found))]
        return torch.cat([functional.normalize(part, dim=1) for part in parts], dim=1)
