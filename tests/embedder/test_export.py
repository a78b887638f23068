from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn
from typer.testing import CliRunner

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import Bundle, load_bundle, write_bundle
from embedder.export import (
    MAX_COSINE_DISTANCE,
    app,
    check_parity,
    export_backbone_bundle,
    export_bundle,
    export_default_bundle,
)
from embedder.model.backbone import Backbone, BackboneSpec, load_backbone
from embedder.model.heads import EmbeddingHead
from embedder.model.network import EmbeddingNetwork
from embedder.model.taxonomy import Taxonomy
from embedder.preprocess import PreprocessParams
from lookalike.errors import InvalidInputError


def test_the_default_bundle(default_bundle: Bundle) -> None:
    assert default_bundle.dim == 1280
    assert default_bundle.levels == ()
    assert default_bundle.preprocess == PreprocessParams()
    assert default_bundle.manifest.provenance["architecture"] == "tf_efficientnet_lite0"
    network = EmbeddingNetwork(load_backbone(BackboneSpec()).module)
    assert check_parity(network, default_bundle) <= MAX_COSINE_DISTANCE


def test_a_bundle_does_not_tell_where_it_was_made(default_bundle: Bundle) -> None:
    network = default_bundle.network_path.read_bytes()
    for trace in (b".py", b"site-packages", str(Path(__file__).parents[2]).encode()):
        assert trace not in network


def test_a_present_default_bundle_is_kept(default_bundle: Bundle) -> None:
    before = default_bundle.network_path.stat().st_mtime_ns
    assert export_default_bundle(default_bundle.path) == default_bundle
    result = CliRunner().invoke(app, ["default", "--out", str(default_bundle.path)])
    assert result.exit_code == 0
    assert default_bundle.model_version in result.stdout
    assert default_bundle.network_path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "made_of", [{"quantised_from": "0123456789abcdef"}, {"kind": "trained"}, {"mirror": True}]
)
def test_another_model_of_the_same_weights_is_not_the_default(
    default_bundle: Bundle,
    tiny_bundle: Path,
    tmp_path: Path,
    made_of: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An int8 copy, one trained without categories on top of the backbone, one that takes a mean."""
    write_bundle(
        tmp_path / "default",
        load_bundle(tiny_bundle).network_path,
        dim=16,
        taxonomy=default_bundle.taxonomy,
        preprocess=default_bundle.preprocess,
        provenance={**default_bundle.manifest.provenance, **made_of},
        metrics={},
        golden=default_bundle.golden(),
    )
    exported: list[Path] = []

    def export(backbone: Backbone, spec: BackboneSpec, out: Path) -> Bundle:
        exported.append(out)
        return default_bundle

    monkeypatch.setattr("embedder.export.export_backbone", export)
    assert export_default_bundle(tmp_path / "default") is default_bundle
    assert exported == [tmp_path / "default"]


def test_another_network_fails_the_parity_check(default_bundle: Bundle) -> None:
    module = copy.deepcopy(load_backbone(BackboneSpec()).module)
    with torch.no_grad():
        module.get_parameter("conv_head.weight").mul_(
            1 + 0.3 * torch.randn(1280, 1, 1, 1, generator=torch.Generator().manual_seed(0))
        )
    with pytest.raises(RuntimeError, match="differs from the original"):
        check_parity(EmbeddingNetwork(module).eval(), default_bundle)


class _WithNaN(nn.Module):
    """A network and one of its probabilities: not a number, for a picture that is not the first."""

    def __init__(self, network: nn.Module, level: int) -> None:
        super().__init__()
        self.network, self.level = network, level

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs: tuple[torch.Tensor, ...] = tuple(output.clone() for output in self.network(images))
        outputs[1 + self.level][-1, 0] = torch.nan
        return outputs


class _Answers(nn.Module):
    """What a bundle's network answers."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.encoder = OnnxEncoder(bundle, threads=1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        encoded = self.encoder.encode(images.numpy())
        return tuple(map(torch.from_numpy, (encoded.embedding, *encoded.probabilities)))


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_probability_that_is_not_a_number_fails_the_parity_check(tiny_bundle: Path, level: int) -> None:
    bundle = load_bundle(tiny_bundle)
    assert check_parity(_Answers(bundle), bundle) <= MAX_COSINE_DISTANCE
    with pytest.raises(RuntimeError, match="probabilities by nan"):
        check_parity(_WithNaN(_Answers(bundle), level), bundle)


def test_any_timm_architecture_with_a_weights_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=7)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    bundle = export_backbone_bundle(
        BackboneSpec("test_resnet", tmp_path / "weights.pth"), tmp_path / "bundle"
    )
    assert load_bundle(tmp_path / "bundle") == bundle
    size = bundle.preprocess.size
    images = np.random.default_rng(0).normal(size=(2, 3, size, size)).astype(np.float32)
    with torch.inference_mode():
        features = model.eval().forward_head(
            model.forward_features(torch.from_numpy(images)), pre_logits=True
        )
    expected = torch.nn.functional.normalize(features, dim=1).numpy()
    np.testing.assert_allclose(OnnxEncoder(bundle).encode(images).embedding, expected, atol=1e-5)


@pytest.mark.parametrize("head", [False, True])
def test_a_mirrored_network_gives_a_picture_and_its_mirror_image_one_embedding(
    head: bool, tmp_path: Path
) -> None:
    """The mean is taken in the network, so that whatever runs it takes it."""
    torch.manual_seed(0)
    backbone = timm.create_model("test_resnet", num_classes=0).eval()
    dim = 16 if head else 96
    network = EmbeddingNetwork(backbone, EmbeddingHead(96, 0, dim) if head else None, mirror=True)
    bundle = export_bundle(
        network,
        tmp_path / "bundle",
        dim=dim,
        taxonomy=Taxonomy(),
        preprocess=PreprocessParams(size=64),
        provenance={},
        metrics={},
    )
    images = np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)
    found = OnnxEncoder(bundle).encode(images).embedding
    flipped = OnnxEncoder(bundle).encode(np.ascontiguousarray(images[..., ::-1])).embedding
    np.testing.assert_allclose(found, flipped, atol=1e-5)
    with torch.inference_mode():
        both = [
            torch.nn.functional.normalize(backbone(torch.from_numpy(one)), dim=1)
            for one in (images, images[..., ::-1].copy())
        ]
        mean = torch.nn.functional.normalize(both[0] + both[1], dim=1)
        expected = network.head(mean).embedding if network.head else mean
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_a_backbone_at_another_size_is_exported_at_that_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "weights.pth")
    spec = BackboneSpec("test_vit", tmp_path / "weights.pth", input_size=64, mirror=True, pooling="avg")
    bundle = export_backbone_bundle(spec, tmp_path / "bundle")
    assert bundle.preprocess.size == 64
    assert OnnxEncoder(bundle).encode(np.ones((3, 3, 64, 64), np.float32)).embedding.shape == (3, 64)
    made_of = bundle.manifest.provenance
    assert (made_of["input_size"], made_of["mirror"], made_of["pooling"]) == (64, True, "avg")
    assert "fit" not in made_of


def test_unfit_backbones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no model named 'resnet_of_dreams'"):
        load_backbone(BackboneSpec("resnet_of_dreams"))
    torch.save({"layer.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(InvalidInputError, match="do not fit the architecture 'test_resnet'"):
        load_backbone(BackboneSpec("test_resnet", tmp_path / "weights.pth"))
    with pytest.raises(InvalidInputError, match="there is no weights file"):
        load_backbone(BackboneSpec("test_resnet", tmp_path / "absent.pth"))
