"""The trained last stages apart from the frozen ones, and what is kept between them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from embedder.preprocess import PreprocessParams
from embedder.training.activations import Activations, AlteredActivations
from embedder.training.copies import Copies
from embedder.training.freezing import freeze
from embedder.training.upper import Upper, upper_part
from lookalike.errors import FailedPreconditionError

SIZE = 64


def network(architecture: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built: nn.Module = timm.create_model(architecture, num_classes=0)
    return built.eval()


def pictures(count: int) -> Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "architecture", ["test_resnet", "test_efficientnet", "test_vit", "test_vit2", "test_convnext"]
)
def test_both_parts_make_the_whole_and_the_lower_one_is_frozen(architecture: str) -> None:
    backbone = network(architecture)
    size: int = getattr(backbone, "pretrained_cfg")["input_size"][-1]  # noqa: B009  # untyped in timm
    freeze(backbone, 2)
    upper = upper_part(backbone, 2, size)
    assert upper is not None
    batch = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    reached = upper.reached(batch)
    assert len(reached) == 3
    with torch.no_grad():
        torch.testing.assert_close(upper(reached), backbone(batch), rtol=1e-4, atol=1e-4)
    upper(reached).sum().backward()
    moved = {name for name, one in backbone.named_parameters() if one.grad is not None}
    trained = {name for name, one in backbone.named_parameters() if one.requires_grad}
    assert moved
    assert moved == trained
    first = next(name for name, _ in backbone.named_parameters())
    assert first not in trained


class Bypassed(nn.Module):
    """The last stage also sees the first one's output, past the one between."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(3, 3, 1) for _ in range(3))

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        del coarse
        return {"stem": r"^one", "blocks": r"^two|three"}

    def forward(self, images: Tensor) -> Tensor:
        early: Tensor = self.one(images)
        late: Tensor = self.three(self.two(early)) + early
        return late.mean(dim=(2, 3))


def test_a_network_whose_parts_are_bypassed_is_not_parted() -> None:
    assert upper_part(Bypassed().eval(), 1, 8) is None


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        pixels = np.random.default_rng(number).integers(0, 256, (80, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    return files


class Counting(Upper):
    """Counts the pictures that the frozen part sees."""

    seen = 0

    def reached(self, pictures: Tensor) -> Tensor:
        self.seen += len(pictures) if len(pictures) > 1 or pictures.any() else 0
        return super().reached(pictures)


@pytest.fixture
def upper() -> Counting:
    parted = upper_part(network("test_resnet"), 1, SIZE)
    assert parted is not None
    return Counting(parted.backbone, parted.cut, SIZE).eval()


def activations(file: Path, photos: list[Path], upper: Upper) -> Activations:
    hashes = [hashlib.sha256(photo.read_bytes()).hexdigest() for photo in photos]
    copies = Copies(photos, hashes, PreprocessParams(size=SIZE), "strong", seed=0)
    return Activations(file, copies, upper, "weights")


def fill(kept: Activations, upper: Upper, copies: range) -> list[tuple[int, int]]:
    told: list[tuple[int, int]] = []
    kept.fill(upper, copies, 1, lambda done, total: told.append((done, total)))
    return told


def test_each_copy_goes_through_the_frozen_part_once(
    photos: list[Path], upper: Counting, tmp_path: Path
) -> None:
    file = tmp_path / "activations.sqlite"
    assert fill(activations(file, photos[:4], upper), upper, range(1, 3))[-1] == (8, 8)
    assert upper.seen == 8
    again = activations(file, photos[:4], upper)
    assert fill(again, upper, range(1, 3)) == [(8, 8)]
    assert upper.seen == 8
    fill(again, upper, range(1))
    assert upper.seen == 12
    with torch.no_grad():
        whole = torch.stack([torch.from_numpy(again._pictures.prepare(row, 0)) for row in range(4)])
        expected = nn.functional.normalize(upper.backbone(whole), dim=1)
    torch.testing.assert_close(again.features(upper), expected, rtol=0, atol=2e-3)  # half precision


def test_a_step_takes_copies_by_its_number_alone(photos: list[Path], upper: Counting, tmp_path: Path) -> None:
    kept = activations(tmp_path / "activations.sqlite", photos, upper)
    fill(kept, upper, range(1, 4))
    data = AlteredActivations(kept, 3, seed=0)
    asked = [(step, place, row) for step in range(30) for place, row in enumerate((5, 2))]
    found = data.__getitems__(asked)
    assert [row for row, _ in found] == [5, 2] * 30
    for key, (_, values) in zip(asked, found, strict=True):
        torch.testing.assert_close(data[key][1], values, rtol=0, atol=0)
    assert len({values.numpy().tobytes() for row, values in found if row == 5}) == 3


def test_a_file_that_goes_while_it_is_read_is_named(
    photos: list[Path], upper: Counting, tmp_path: Path
) -> None:
    file = tmp_path / "activations.sqlite"
    kept = activations(file, photos, upper)
    fill(kept, upper, range(1, 2))
    file.unlink()
    with pytest.raises(FailedPreconditionError, match=r"activations\.sqlite was deleted or damaged"):
        AlteredActivations(kept, 1, seed=0)[0, 0, 0]
