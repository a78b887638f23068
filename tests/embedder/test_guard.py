"""The share of the backbone's own directions that an embedding keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from embedder.model.heads import DeepHierarchicalClassifier, EmbeddingHead
from embedder.model.taxonomy import MISSING
from embedder.training import guard
from embedder.training.config import TrainConfig
from embedder.training.guard import SHARES, guarded_share
from embedder.training.train import train
from lookalike.catalogue.catalog import Catalog

PRODUCTS, PHOTOS, WIDTH = 60, 3, 24


@pytest.fixture(scope="module")
def features() -> Tensor:
    """Products differ along the first half of the directions; photos of one along the others."""
    random = torch.Generator().manual_seed(0)
    identity = torch.randn(PRODUCTS, 1, WIDTH, generator=random) * (torch.arange(WIDTH) < WIDTH // 2)
    nuisance = 0.6 * torch.randn(PRODUCTS, PHOTOS, WIDTH, generator=random)
    return functional.normalize((identity + nuisance).flatten(0, 1), dim=1)


NUMBERS = torch.arange(PRODUCTS).repeat_interleave(PHOTOS)


def looking_at(directions: slice, features: Tensor) -> EmbeddingHead:
    head = EmbeddingHead(WIDTH, 0, WIDTH)
    head.mean.copy_(features.mean(dim=0))
    with torch.no_grad():
        head.projection.weight.zero_()
        head.projection.weight[directions] = torch.eye(WIDTH)[directions]
    return head.eval()


def test_a_head_that_finds_unseen_products_keeps_nothing(features: Tensor) -> None:
    seen: list[Tensor] = []

    def half(rows: Tensor) -> EmbeddingHead:
        seen.append(rows)
        return looking_at(slice(0, WIDTH // 2), features)

    found = guarded_share(features, NUMBERS, half, seed=0)
    assert found is not None
    assert (found.share, list(found.recalls)) == (0.0, [0.0])
    assert found.recalls[0.0] > found.backbone
    assert found.asked == PRODUCTS * PHOTOS
    assert sorted(torch.cat(seen).tolist()) == list(range(PRODUCTS * PHOTOS))
    assert not set(NUMBERS[seen[0]].tolist()) & set(NUMBERS[seen[1]].tolist())


def test_a_head_that_looks_at_the_wrong_things_keeps_the_backbone(features: Tensor) -> None:
    found = guarded_share(
        features, NUMBERS, lambda rows: looking_at(slice(WIDTH // 2, WIDTH), features), seed=0
    )
    assert found is not None
    assert found.share > 0
    assert list(found.recalls) == list(SHARES[: len(found.recalls)])
    assert found.recalls[0.0] < found.backbone
    assert found.recalls[found.share] == max(found.recalls.values())


def test_too_few_products_with_several_photos_are_not_asked_for(features: Tensor) -> None:
    alone = torch.where(NUMBERS < 15, NUMBERS, MISSING)

    def half(rows: Tensor) -> EmbeddingHead:
        raise AssertionError("nothing to train for")

    assert guarded_share(features, alone, half, seed=0) is None


def test_the_kept_share_is_that_of_the_similarity(features: Tensor) -> None:
    torch.manual_seed(0)
    head = DeepHierarchicalClassifier(WIDTH, (3,), embedding_dim=WIDTH, level_width=4).eval()
    head.start_from(features, NUMBERS)
    before = head(features).embedding.detach()
    weights = head.projection.weight.detach().clone()
    head.keep_features(features, 0.0)
    torch.testing.assert_close(head.projection.weight, weights, rtol=0, atol=0)
    plain = functional.normalize(head.centred(features), dim=1)
    kept = []
    for share in (0.3, 0.7, 1.0):
        with torch.no_grad():
            head.projection.weight.copy_(weights)
        head.keep_features(features, share)
        mixed = head(features).embedding.detach()
        similarity = mixed @ mixed.T
        expected = (1 - share) * (before @ before.T) + share * (plain @ plain.T)
        kept.append(float((similarity - expected).square().mean() / expected.square().mean()))
        norm = float(head.projection.weight.detach().norm(dim=1).mean())
        assert norm == pytest.approx(float(weights.norm(dim=1).mean()))
    assert max(kept) < 0.05
    assert kept[-1] < 1e-6


def test_training_asks_heads_of_half_the_products_and_reports_it(
    toy_catalog: Catalog, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_FEWEST_ASKED", 3)
    told: list[str] = []

    def note(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        told.append(stage)

    short = config.model_copy(update={"epochs": 2})
    guarded = train(toy_catalog, tmp_path / "guarded", short, note)
    assert told.index("train") < told.index("guard") < told.index("export")
    metrics = guarded.metrics
    assert metrics["guard_share"] in SHARES
    assert 0 <= metrics["guard_backbone_recall@1"] <= 1
    assert 0 <= metrics["guard_recall@1"] <= 1
    told.clear()
    without = train(toy_catalog, tmp_path / "without", short.model_copy(update={"backbone_share": 0.0}), note)
    assert "guard" not in told
    assert "guard_share" not in without.metrics
    half = short.model_copy(update={"backbone_share": 0.5})
    mixed = train(toy_catalog, tmp_path / "mixed", half, note)
    assert mixed.bundle.model_version != without.bundle.model_version


@pytest.mark.parametrize(
    ("lost", "won", "expected"), [(0, 0, False), (9, 6, False), (30, 6, True), (6, 30, False)]
)
def test_a_head_is_worse_beyond_chance_only(lost: int, won: int, expected: bool) -> None:
    theirs = np.ones(1000, bool)
    theirs[:won] = False
    ours = np.ones(1000, bool)
    ours[won : won + lost] = False
    assert guard._is_worse(ours, theirs) is expected
