"""Sampling, alteration, freezing: the parts of a training step."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from torch import nn

from embedder.model.taxonomy import MISSING, Taxonomy
from embedder.preprocess import PreprocessParams
from embedder.training.augment import alter, studio_background, vary
from embedder.training.data import AlteredPhotos, Labels, feature_loader, photo_loader
from embedder.training.freezing import freeze
from embedder.training.module import decayed_and_not, warm_up_then_cosine
from embedder.training.outcome import Outcome
from embedder.training.plots import confusion
from embedder.training.report import mistakes
from embedder.training.rows import split_rows
from embedder.training.sampling import Plan
from embedder.training.titles import Attributes
from lookalike.catalogue.catalog import Catalog, CatalogItem

Sampler = Literal["shuffle", "class", "product"]


def plan(products: list[int], sampler: Sampler, batch_size: int = 16, seed: int = 0) -> Plan:
    numbers = torch.tensor(products)
    return Plan(
        torch.where(numbers > 0, 1, 0)[:, None],
        numbers,
        sampler=sampler,
        batch_size=batch_size,
        photos_per_product=3,
        epochs=2,
        seed=seed,
    )


PRODUCTS = st.lists(st.integers(MISSING, 5), min_size=2, max_size=90)


@given(PRODUCTS, st.sampled_from(["shuffle", "product"]), st.integers(2, 40))
@settings(max_examples=40, deadline=None)
def test_each_row_is_taken_once_an_epoch(products: list[int], sampler: Sampler, batch_size: int) -> None:
    steps = plan(products, sampler, batch_size)
    for epoch in range(2):
        first = epoch * steps.steps_per_epoch
        rows = torch.cat([steps.rows(first + step) for step in range(steps.steps_per_epoch)])
        assert sorted(rows.tolist()) == list(range(len(products)))


def test_a_step_does_not_depend_on_the_steps_before() -> None:
    products = [number // 4 for number in range(60)]
    one, other = plan(products, "product"), plan(products, "product")
    forwards = [one.rows(step).tolist() for step in range(one.total_steps)]
    backwards = [other.rows(step).tolist() for step in reversed(range(one.total_steps))]
    assert forwards == backwards[::-1]
    assert forwards != [plan(products, "product", seed=1).rows(s).tolist() for s in range(one.total_steps)]


def test_products_come_side_by_side() -> None:
    products = [number % 20 for number in range(120)] + [MISSING] * 10
    steps = plan(products, "product", batch_size=65)
    order = torch.cat([steps.rows(step) for step in range(steps.steps_per_epoch)]).tolist()
    groups = [products[row] for row in order if products[row] != MISSING]
    assert all(len(set(groups[start : start + 3])) == 1 for start in range(0, 120, 3))
    assert len(set(groups[:30])) > 5


def test_the_class_sampler_draws_rare_classes_as_often_as_common_ones() -> None:
    products = [0] * 900 + [1] * 100
    steps = plan(products, "class", batch_size=1000)
    rows = torch.cat([steps.rows(step) for step in range(steps.steps_per_epoch)])
    assert 400 < int((rows >= 900).sum()) < 600


def studio_picture() -> Image.Image:
    image = Image.new("RGB", (80, 60), "white")
    ImageDraw.Draw(image).ellipse((20, 10, 60, 50), fill=(200, 30, 30), outline="black")
    ImageDraw.Draw(image).rectangle((35, 25, 45, 35), fill="white")  # white within the product stays
    return image


def test_the_background_of_a_studio_picture_is_the_white_around_the_product() -> None:
    found = studio_background(studio_picture())
    assert found is not None
    assert found[0, 0]
    assert found[59, 79]
    assert not found[30, 40]
    assert not found[30, 25]
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    assert studio_background(photo) is None
    assert studio_background(Image.new("RGB", (80, 60), "white")) is None


def test_altered_pictures_differ_by_chance_alone() -> None:
    picture, clutter = studio_picture(), Image.new("RGB", (90, 30), (20, 90, 20))
    views = [alter(picture, lambda: clutter, np.random.default_rng(seed)) for seed in range(40)]
    assert all(view.mode == "RGB" and min(view.size) >= 1 for view in views)
    assert len({view.tobytes() for view in views}) == 40
    again = alter(picture, lambda: clutter, np.random.default_rng(3))
    assert again.tobytes() == views[3].tobytes()
    # A product cut out and put elsewhere: some views have hardly any white left.
    whites = [float((np.asarray(view).min(axis=2) > 235).mean()) for view in views]
    assert min(whites) < 0.1 < max(whites)
    tiny = Image.new("RGB", (1, 1), "red")
    for seed in range(10):
        alter(tiny, lambda: tiny, np.random.default_rng(seed))


def test_photo_batches_are_the_same_wherever_loading_starts_and_split_among_processes(tmp_path: Path) -> None:
    photos = []
    for number in range(24):
        photos.append(tmp_path / f"{number}.png")
        Image.new("RGB", (20, 20), (10 * number, 0, 0)).save(photos[-1])
    labels = Labels(
        torch.zeros(24, 0, dtype=torch.long), torch.arange(24), Attributes((), tuple(() for _ in photos))
    )
    steps = plan(list(range(24)), "shuffle")
    data = AlteredPhotos(photos, PreprocessParams(size=16), seed=0)
    make = photo_loader(data, labels, steps, workers=0)
    whole = list(make(0, 0, 1))
    assert len(whole) == steps.total_steps
    late = list(make(2, 0, 1))
    for expected, actual in zip(whole[2:], late, strict=True):
        torch.testing.assert_close(actual.inputs, expected.inputs, rtol=0, atol=0)
        assert actual.products.tolist() == expected.products.tolist()
    parts = [next(iter(make(0, rank, 2))).products.tolist() for rank in (0, 1)]
    assert sorted(parts[0] + parts[1]) == sorted(whole[0].products.tolist())


def test_processes_share_a_batch_and_part_at_most_one_product() -> None:
    products = torch.arange(32) // 4
    labels = Labels(torch.zeros(32, 0, dtype=torch.long), products, Attributes((), ((),) * 32))
    steps = plan(products.tolist(), "product", batch_size=16)
    make = feature_loader(torch.zeros(1, 32, 8), labels, steps)
    parts = [next(iter(make(0, rank, 2))).products.tolist() for rank in range(2)]
    assert len(set(parts[0]) & set(parts[1])) <= 1
    assert parts[0] + parts[1] == products[steps.rows(0)].tolist()


def test_a_photo_that_is_drawn_several_times_looks_different_each_time(tmp_path: Path) -> None:
    """One row of a rare class among forty of a common one: the class sampler repeats it."""
    photos = [tmp_path / f"{number}.png" for number in range(41)]
    for number, photo in enumerate(photos):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photo)
    products = [0] * 40 + [1]
    labels = Labels(torch.zeros(41, 0, dtype=torch.long), torch.arange(41), Attributes((), ((),) * 41))
    make = photo_loader(
        AlteredPhotos(photos, PreprocessParams(size=16), seed=0), labels, plan(products, "class"), workers=0
    )
    views = [
        picture.numpy().tobytes()
        for batch in make(0, 0, 1)
        for picture, row in zip(batch.inputs, batch.products.tolist(), strict=True)
        if row == 40
    ]
    assert len(views) > 20
    assert len(set(views)) == len(views)
    halves = [next(iter(make(0, rank, 2))) for rank in (0, 1)]
    whole = next(iter(make(0, 0, 1)))
    torch.testing.assert_close(halves[1].inputs, whole.inputs.tensor_split(2)[1], rtol=0, atol=0)
    torch.testing.assert_close(halves[0].inputs, whole.inputs.tensor_split(2)[0], rtol=0, atol=0)


def test_varied_pictures_are_mild_and_repeatable() -> None:
    picture = studio_picture()
    views = [vary(picture, np.random.default_rng(seed)) for seed in range(20)]
    assert all(view.width * view.height >= 0.4 * 80 * 60 for view in views)
    assert len({view.tobytes() for view in views}) == 20
    assert vary(picture, np.random.default_rng(3)).tobytes() == views[3].tobytes()


@pytest.mark.parametrize("stages", [None, 1])
def test_freezing_leaves_the_last_stages_without_batch_norm(stages: int | None) -> None:
    backbone = timm.create_model("test_resnet", num_classes=0)
    freeze(backbone, stages)
    trained = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert trained
    norms = {
        f"{name}.{part}"
        for name, module in backbone.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for part in ("weight", "bias")
    }
    assert not trained & norms
    assert any(name.startswith("layer4") for name in trained)
    assert any(name.startswith("conv1") for name in trained) == (stages is None)


def test_biases_and_norms_do_not_decay() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    kept, decayed = decayed_and_not(network.parameters(), 0.1)
    assert kept["weight_decay"] == 0
    assert [tuple(parameter.shape) for parameter in kept["params"]] == [(4,), (4,), (4,), (2,)]
    assert "weight_decay" not in decayed  # the optimizer's own
    assert [tuple(parameter.shape) for parameter in decayed["params"]] == [(4, 3, 1, 1), (2, 4)]


def test_the_learning_rate_warms_up_and_falls_to_nothing() -> None:
    factor = warm_up_then_cosine(100)
    rates = [factor(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[9], abs=0.05)
    assert rates[100] == pytest.approx(0)
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))


def item(name: str, *categories: str, split: str = "train") -> CatalogItem:
    return CatalogItem(name, f"p-{name[0]}", Path(name), "", categories, {}, frozenset({split}))


def test_products_are_held_out_whole() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    catalog = Catalog(tuple(item(f"{letter}{view}") for letter in letters for view in "12"), Path())
    train, held, split = split_rows(catalog, 0.3, seed=0)
    assert (len(train) + len(held), split) == (52, "train")
    assert 4 <= len(held) <= 28
    assert not {row.product_id for row in train} & {row.product_id for row in held}
    assert split_rows(catalog, 0.3, seed=1)[1] != held
    with_val = Catalog((*catalog.items, item("zz", split="val")), Path())
    assert [row.item_id for row in split_rows(with_val, 0.3, seed=0)[1]] == ["zz"]
    assert split_rows(catalog, 0.0, seed=0)[1] == []


def test_mistakes_and_confusions_of_a_ragged_tree() -> None:
    rows = [item("a", "x", "1"), item("b", "x", "2"), item("c", "y"), item("d", "x"), item("e")]
    tree = Taxonomy.from_categories([("x", "1"), ("x", "2"), ("y",)])
    meta = np.array([[0.9, 0.1], [0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.5, 0.5]], dtype=np.float32)
    leaf = np.array([[0.4, 0.6], [0.1, 0.9], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]], dtype=np.float32)
    vectors = np.eye(5, dtype=np.float32)
    outcome = Outcome(rows, tree, vectors, (meta, leaf))
    found = [(m.row, m.predicted, round(m.confidence, 2), m.height) for m in mistakes(outcome)]
    # The first: x/1 .9 * .4, x/2 .9 * .6, y .1.
    assert found == [(3, ("y",), 0.8, 2), (2, ("x",), 0.7, 2), (0, ("x", "2"), 0.54, 1)]
    assert outcome.predicted(0) == [("x",), ("x",), ("x",), ("y",), ("y",)]
    assert outcome.predicted(1)[3] == ("y",), "the path ends there"
    names, shares = confusion(outcome, 0)
    assert names == ["x", "y", "other"]
    np.testing.assert_allclose(shares, [[2 / 3, 1 / 3, 0], [1, 0, 0]])
    assert outcome.recall_at_1() is None
    assert outcome.accuracies()["accuracy_meta"] == pytest.approx(0.5)


def test_recall_at_1_leaves_out_the_row_itself() -> None:
    rows = [item("a1"), item("a2"), item("b1"), item("b2"), item("c1")]
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.8, 0.2], [0.1, 1]], dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    outcome = Outcome(rows, Taxonomy(), vectors, ())
    # a1 -> a2, a2 -> a1, b1 -> c1, b2 -> a2; c1 has no other row.
    assert outcome.recall_at_1() == pytest.approx(0.5)
