"""A model trained in this process: its bundle, and next to it the very network that the bundle came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from embedder.bundle import Bundle
from embedder.export import export_bundle
from embedder.model.network import EmbeddingNetwork
from embedder.training.config import TrainConfig
from embedder.training.run import TrainingRun
from embedder.training.torch_encoder import TorchEncoder
from lookalike.catalogue.catalog import Catalog

__all__ = ["Trained", "train_in_memory"]


class _Embedding(nn.Module):
    """The first output of a network."""

    def __init__(self, network: EmbeddingNetwork) -> None:
        super().__init__()
        self._network = network

    def forward(self, images: Tensor) -> Tensor:
        embedding: Tensor = self._network(images)[0]
        return embedding


@dataclass(frozen=True)
class Trained:
    """A bundle, and its network in PyTorch's eager mode."""

    bundle: Bundle
    eager: TorchEncoder


def train_in_memory(catalogue: Catalog, config: TrainConfig, out: Path) -> Trained:
    """Train as ``lookalike train`` does, and keep the network."""
    run = TrainingRun(catalogue, config, lambda stage, done, total, figures: None)
    head, _ = run.train()
    network = EmbeddingNetwork(run.backbone.module, head.cpu(), mirror=run.backbone.mirror).cpu().eval()
    bundle = export_bundle(
        network,
        out,
        dim=config.embedding_dim,
        taxonomy=run.taxonomy,
        preprocess=run.backbone.preprocess,
        provenance=run.provenance(),
        metrics={},
    )
    return Trained(bundle, TorchEncoder(_Embedding(network), torch.device("cpu")))
