"""One backbone of every kind: it trains, frozen and whole, and gives the same in every backend."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import timm
import torch

from deploy.local.triton import TritonServer
from embedder.backends.onnx import OnnxEncoder
from embedder.backends.openvino import OpenVinoEncoder
from embedder.bundle import Bundle
from embedder.export import export_bundle
from embedder.golden import FLOAT32_TOLERANCE, cosine_distance
from embedder.metrics import TritonMetrics
from embedder.model.backbone import BackboneSpec
from embedder.model.network import EmbeddingNetwork
from embedder.preprocess import preprocess
from embedder.training.config import TrainConfig
from embedder.training.freezing import freeze
from embedder.training.run import TrainingRun
from embedder.triton import control
from embedder.triton.client import TritonEncoder, TritonTarget
from embedder.triton.repository import RepositoryOptions
from lookalike.catalogue.catalog import Catalog
from lookalike.runtime.metrics import Metrics
from tests.tiny_backbones import TINY, tiny_backbone_in

KINDS = ("convolutions", "class token", "registers", "rotary", "CLIP", "attention pooling", "ConvNeXt")


class Trained(NamedTuple):
    """A network as it lies in memory after training, its bundle, and what it makes of some photos.

    Attributes:
        stayed: Names of the backbone's parameters that training has not changed.
    """

    network: EmbeddingNetwork
    bundle: Bundle
    images: np.ndarray
    embedding: np.ndarray
    stayed: set[str]


@pytest.fixture(scope="module", params=KINDS)
def trained(
    request: pytest.FixtureRequest, toy_catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """Frozen for an epoch, whole for another; some mirrored, of another size, or of two stages."""
    folder = tmp_path_factory.mktemp("kind")
    name = tiny_backbone_in(folder / "backbone", request.param)
    other = request.param in ("convolutions", "rotary")
    config = TrainConfig(
        backbone=BackboneSpec(
            name,
            input_size=96 if other else 0,
            mirror=other,
            feature_stages=2 if request.param in ("convolutions", "class token", "attention pooling") else 1,
        ),
        embedding_dim=16,
        level_width=8,
        epochs=1,
        augmented_copies=0,
        fine_tune=True,
        fine_tune_epochs=1,
        fine_tune_share=1.0,
        backbone_learning_rate=1e-2,
        threads=2,
        cache_folder=folder / "cache",
    )
    run = TrainingRun(toy_catalog, config, lambda *_: None)
    before = {name: value.detach().clone() for name, value in run.backbone.module.named_parameters()}
    head, history = run.train()
    assert all(np.isfinite(epochs[-1]["loss"]) for epochs in history.values())
    after = dict(run.backbone.module.named_parameters())
    network = EmbeddingNetwork(run.backbone.module, head, mirror=run.backbone.mirror).eval()
    params = run.backbone.preprocess
    bundle = export_bundle(
        network,
        folder / "bundle",
        dim=16,
        taxonomy=run.taxonomy,
        preprocess=params,
        provenance=run.provenance(),
        metrics={},
    )
    photos = [item.image_path.read_bytes() for item in toy_catalog.items[::4]]
    images = np.stack([preprocess(photo, params) for photo in photos])
    with torch.inference_mode():
        embedding = network(torch.from_numpy(images))[0].numpy()
    stayed = {name for name, value in before.items() if torch.equal(value, after[name])}
    return Trained(network, bundle, images, embedding, stayed)


def test_all_but_batch_norm_is_trained(trained: Trained) -> None:
    fixed = {
        f"{name}.{kind}"
        for name, module in trained.network.backbone.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
        for kind in ("weight", "bias")
    }
    assert trained.stayed == fixed


def test_the_backends_in_process_agree_with_the_network(trained: Trained) -> None:
    # Of networks with random weights all photos are alike.
    apart = cosine_distance(trained.embedding, np.roll(trained.embedding, 1, axis=0))
    for encoder in (OnnxEncoder(trained.bundle, 1), OpenVinoEncoder(trained.bundle, 1, "f32")):
        found = [encoder.encode(part).embedding for part in np.array_split(trained.images, [1, 4])]
        distance = cosine_distance(trained.embedding, np.concatenate(found))
        assert distance <= min(FLOAT32_TOLERANCE, apart / 20), type(encoder).__name__


async def test_triton_agrees_with_the_network(trained: Trained, triton: TritonServer) -> None:
    model = f"kind-{trained.bundle.model_version}"
    options = RepositoryOptions(backend="python", model=model, threads=1, max_batch=4)
    _, distance = await control.load(triton.repository, trained.bundle, triton.url, options)
    assert distance <= FLOAT32_TOLERANCE
    target = TritonTarget(triton.url, model, max_batch=4)
    encoder = TritonEncoder(trained.bundle, target, TritonMetrics(Metrics()))
    try:
        await encoder.open()
        found = [(await encoder.encode(part)).embedding for part in np.array_split(trained.images, 3)]
    finally:
        await encoder.close()
    assert cosine_distance(trained.embedding, np.concatenate(found)) <= FLOAT32_TOLERANCE


@pytest.mark.parametrize("kind", list(TINY))
def test_the_last_stages_of_every_kind_can_be_trained_alone(kind: str) -> None:
    architecture, options = TINY[kind]
    module = timm.create_model(architecture, num_classes=0, **options)
    freeze(module, 1)
    trainable = [name for name, value in module.named_parameters() if value.requires_grad]
    assert 0 < len(trainable) < len(list(module.parameters()))
    first = next(name for name, _ in module.named_parameters())
    assert first not in trainable
