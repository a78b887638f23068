"""Weights in the layouts of other libraries and of the networks' own repositories.

Each is written from a network of timm with random weights; loaded again, it must give the same features.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor

from embedder.model.backbone import BackboneSpec, load_backbone
from lookalike.errors import InvalidInputError, Reason
from tests.embedder.layouts import (
    LAYOUTS,
    State,
    below,
    of_timm,
    open_clip,
    open_clip_over_timm,
    transformers_clip,
)
from tests.tiny_backbones import TINY, tiny_backbone_in


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two of each kind, with other weights in the second."""
    root = tmp_path_factory.mktemp("backbones")
    return {
        f"{kind}{seed}": tiny_backbone_in(root / f"{kind}{seed}".replace(" ", "-"), kind, seed)
        for kind in TINY
        for seed in (0, 1)
    }


def weights_of(name: str) -> Path:
    return Path(name.removeprefix("local-dir:")) / "pytorch_model.bin"


def state_of(name: str) -> State:
    return timm.models.load_state_dict(str(weights_of(name)))


def features(name: str, weights: Path, size: int = 0) -> Tensor:
    backbone = load_backbone(BackboneSpec(name, weights, size))
    side = backbone.preprocess.size
    with torch.no_grad():
        found: Tensor = backbone.module(
            torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
        )
    return found


def test_every_layout_gives_the_same_features(
    backbones: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into a network that has other weights, which none may remain of."""
    sources = {kind: state_of(backbones[f"{kind}0"]) for kind in TINY}
    own = {kind: features(backbones[f"{kind}0"], weights_of(backbones[f"{kind}0"])) for kind in TINY}
    for number, (kind, write) in enumerate(LAYOUTS):
        torch.save(write(dict(sources[kind])), tmp_path / f"{number}.pth")
        found = features(backbones[f"{kind}1"], tmp_path / f"{number}.pth")
        expected = own[kind]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5, msg=f"{number}: {kind}")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("write", [of_timm, open_clip_over_timm, transformers_clip])
def test_position_embeddings_of_another_size_are_resampled(
    backbones: dict[str, str], tmp_path: Path, write: Callable[[State], State]
) -> None:
    name = backbones["attention pooling1"]
    source = state_of(backbones["attention pooling0"])
    safetensors.torch.save_file(
        {key: value.contiguous() for key, value in write(source).items()}, tmp_path / "foreign.safetensors"
    )
    architecture, options = TINY["attention pooling"]
    expected = timm.create_model(architecture, **options)
    expected.load_state_dict(source)
    expected.eval().set_input_size((96, 96))
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(
            features(name, tmp_path / "foreign.safetensors", 96), expected(images), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda state: {n: v for n, v in state.items() if ".1." not in n},
            r"missing: blocks\.1\.\S+, .* and ",
        ),
        (
            lambda state: state | below("blocks.2.", {"norm1.weight": torch.ones(24)}),
            r"not in the architecture: blocks\.2\.norm1\.weight$",
        ),
        (
            lambda state: state | {"norm.weight": torch.ones(25)},
            r"of another shape: norm\.weight \(25,\), not \(24,\)$",
        ),
        (lambda state: {"layer.weight": torch.ones(1)}, "missing: .*; not in the architecture: layer.weight"),
        (
            lambda state: open_clip(state | below("norm_pre.", {"weight": torch.ones(24)})),
            r"not in the architecture: norm_pre\.weight$",
        ),
    ],
)
def test_weights_that_do_not_fit_name_the_layers(
    backbones: dict[str, str], tmp_path: Path, change: Callable[[State], State], problem: str
) -> None:
    name = backbones["class token0"]
    torch.save(change(state_of(name)), tmp_path / "other.pth")
    wanted = f"weights other.pth do not fit the architecture 'vit_tiny_patch16_224': .*{problem}"
    with pytest.raises(InvalidInputError, match=wanted) as caught:
        load_backbone(BackboneSpec(name, tmp_path / "other.pth"))
    assert caught.value.reason == Reason.CONFIG_INVALID


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors", "npz"])
def test_damaged_files_are_refused(
    backbones: dict[str, str], tmp_path: Path, content: bytes, suffix: str
) -> None:
    file = tmp_path / f"weights.{suffix}"
    file.write_bytes(content)
    with pytest.raises(InvalidInputError, match=f"weights.{suffix}"):
        load_backbone(BackboneSpec(backbones["class token0"], file))


def test_what_is_no_state_dict_is_refused(backbones: dict[str, str], tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InvalidInputError, match=r"list\.pth holds no state dict"):
        load_backbone(BackboneSpec(backbones["class token0"], tmp_path / "list.pth"))
