"""Backbones of timm, as they come and with weights that do not fit or are broken."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from embedder.model.backbone import BackboneSpec, load_backbone
from lookalike.errors import InvalidInputError


@pytest.mark.parametrize(
    ("architecture", "width"),
    [("lcnet_035", 1280), ("deit_tiny_distilled_patch16_224", 192), ("test_resnet", 96)],
)
def test_a_backbone_is_loaded_from_a_whole_state_dict(architecture: str, width: int, tmp_path: Path) -> None:
    """The first one's head is wider than timm's ``num_features``; the second has two classifiers."""
    with torch.random.fork_rng():
        model = timm.create_model(architecture)
        torch.save(model.state_dict(), tmp_path / "weights.pth")
    backbone = load_backbone(BackboneSpec(architecture, tmp_path / "weights.pth"))
    size = backbone.preprocess.size
    with torch.no_grad():
        assert backbone.module(torch.zeros(2, 3, size, size)).shape == (2, width)
    assert backbone.dim == width


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
