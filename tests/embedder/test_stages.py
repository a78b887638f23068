"""Features of several stages of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional

from embedder.export import export_backbone_bundle
from embedder.model.backbone import BackboneSpec, load_backbone
from embedder.model.stages import StagedFeatures
from embedder.training.freezing import names_of_last
from embedder.training.upper import upper_part
from lookalike.errors import InvalidInputError

PICTURES = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))


def network(architecture: str) -> Any:
    torch.manual_seed(0)
    return timm.create_model(architecture, num_classes=0).eval()


def parts_of(found: Tensor, widths: list[int]) -> list[Tensor]:
    return list(torch.split(found, widths, dim=1))


@pytest.mark.parametrize(
    ("architecture", "widths"),
    [
        ("test_efficientnet", [256, 64, 48]),  # its last stage is not yet what the head pools
        ("test_resnet", [96, 192, 48]),
        ("test_convnext", [64, 48, 32]),
        ("test_vit", [64, 64, 64]),
    ],
)
@torch.no_grad()
def test_the_own_feature_comes_first_and_each_part_has_unit_norm(
    architecture: str, widths: list[int]
) -> None:
    plain = network(architecture)
    found = StagedFeatures(plain, 3)(PICTURES)
    own, *before = parts_of(found, widths)
    torch.testing.assert_close(own, functional.normalize(plain(PICTURES), dim=1))
    stages = plain.forward_intermediates(PICTURES, intermediates_only=True)
    last = len(stages) if stages[-1].shape[1] != plain.num_features else len(stages) - 1
    for part, stage in zip(before, reversed(stages[last - 2 : last]), strict=True):
        torch.testing.assert_close(part, functional.normalize(stage.mean((2, 3)), dim=1))
    two = StagedFeatures(plain, 2)(PICTURES)
    torch.testing.assert_close(two, found[:, : sum(widths[:2])])


@pytest.mark.parametrize("stages", [0, -1, 6, 100])
def test_more_stages_than_there_are_is_refused(stages: int, tmp_path: Path) -> None:
    torch.save(network("test_resnet").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(InvalidInputError, match=f"no feature of {stages} stages"):
        load_backbone(BackboneSpec("test_resnet", tmp_path / "weights.pth", feature_stages=stages))


def test_its_bundle_gives_the_same_and_is_another_model(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(network("test_efficientnet").state_dict(), weights)
    bundles = [
        export_backbone_bundle(
            BackboneSpec("test_efficientnet", weights, feature_stages=stages), tmp_path / str(stages)
        )
        for stages in (1, 2)
    ]
    assert [bundle.dim for bundle in bundles] == [256, 320]
    one, two = (bundle.manifest.provenance for bundle in bundles)
    assert one["weights_sha256"] == two["weights_sha256"]
    assert ("feature_stages" in one, two["feature_stages"]) == (False, 2)


@torch.no_grad()
def test_last_stages_are_trained_apart_from_the_others() -> None:
    staged = StagedFeatures(network("test_efficientnet"), 2).eval()
    last = names_of_last(staged, 2)
    assert last < {name for name, _ in staged.named_parameters()}
    assert {name.removeprefix("network.") for name in last} == names_of_last(staged.network, 2)
    upper = upper_part(staged, 2, 160)
    assert upper is not None
    torch.testing.assert_close(upper(upper.reached(PICTURES)), staged(PICTURES))


def test_a_stage_before_the_trained_ones_bypasses_the_cut() -> None:
    assert upper_part(StagedFeatures(network("test_efficientnet"), 4).eval(), 1, 160) is None
