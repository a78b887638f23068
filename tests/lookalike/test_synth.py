from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from lookalike.catalogue.catalog import Catalog, read_catalog
from lookalike.errors import InvalidInputError
from lookalike.synth import LEAVES, generate
from lookalike.synth.leaf import Leaf
from lookalike.synth.product import Product, build, draw_product, draw_sibling
from lookalike.synth.scene import Stage, photograph
from lookalike.synth.styles import PHONE, STUDIO

SMALL = {"products": 12, "views": 3, "image_size": 64}


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth")
    generate(out, seed=5, workers=1, **SMALL)
    return out


@pytest.fixture(scope="module")
def catalog(folder: Path) -> Catalog:
    return read_catalog(folder / "catalog.csv")


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage(0, [build(draw_product(LEAVES[0], np.random.default_rng(0)))])


def test_the_tree_is_wide_enough_and_names_no_path_twice() -> None:
    assert len({leaf.path[0] for leaf in LEAVES}) >= 6
    assert len({leaf.path[:2] for leaf in LEAVES}) >= 16
    assert len({leaf.path for leaf in LEAVES}) == len(LEAVES) >= 32


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(folder: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    generate(tmp_path, seed=5, workers=2, progress=lambda done, total: calls.append((done, total)), **SMALL)
    assert digests(tmp_path) == digests(folder)
    assert calls[-1] == (36, 36)
    assert calls == sorted(calls)


def test_another_seed_gives_other_photos(folder: Path, tmp_path: Path) -> None:
    generate(tmp_path, seed=6, workers=1, **SMALL)
    assert not set(digests(tmp_path).values()) & set(digests(folder).values())


def test_products_keep_to_their_split(catalog: Catalog) -> None:
    assert len(catalog.items) == 36
    splits = defaultdict(Counter)
    families = defaultdict(set)
    for item in catalog.items:
        (split,) = item.splits
        splits[item.product_id][split] += 1
        families[split].add(item.attributes["family"])
    assert {frozenset(used.items()) for used in splits.values()} <= {
        frozenset({("train", 3)}),
        frozenset({("index", 3)}),
        frozenset({("query", 1), ("index", 2)}),
    }
    assert families["train"]
    assert families["query"]
    assert not families["train"] & (families["index"] | families["query"])


def test_names_give_no_label_away(catalog: Catalog) -> None:
    for item in catalog.items:
        assert item.image_path.stem == item.item_id
        assert len(item.item_id) == 16
        assert set(item.item_id) <= set("0123456789abcdef")
    in_order = [item.item_id for item in catalog.items]
    assert in_order != sorted(in_order)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.path[2])
def test_every_leaf_shows_its_product_and_tells_two_apart(leaf: Leaf, stage: Stage) -> None:
    first, second = (draw_product(leaf, np.random.default_rng(seed)) for seed in (1, 2))
    shots = []
    models = [build(first), build(second)]
    for model in (models[0], models[0], models[1]):
        photo, quality = photograph(model, leaf.pose, STUDIO, stage, np.random.default_rng(3), 96)
        assert photo.shape == (96, 96, 3)
        assert photo.dtype == np.uint8
        assert 1 <= quality <= 100
        shots.append(photo.astype(int))
    ground = np.median(shots[0].reshape(-1, 3), axis=0) if leaf.pose.rest == "flat" else shots[0][2, 2]
    assert (np.abs(shots[0] - ground).max(axis=2) > 25).mean() > 0.03
    assert (shots[0] == shots[1]).all()
    assert (shots[0] != shots[2]).any()
    assert leaf.noun in first.title


def differences(one: Product, other: Product) -> list[str]:
    changed = [name for name in one.numbers if one.numbers[name] != other.numbers[name]]
    changed += [name for name in one.choices if one.choices[name] != other.choices[name]]
    paint = ("glyph", "words", "pattern", "pitch", "second", "colour", "material", "third", "seed", "ink")
    return changed + [name for name in paint if getattr(one.paint, name) != getattr(other.paint, name)]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.path[2])
def test_a_sibling_differs_in_the_one_detail_it_names(leaf: Leaf) -> None:
    for seed in range(6):
        random = np.random.default_rng(seed)
        product = draw_product(leaf, random)
        sibling = draw_sibling(product, random)
        assert differences(product, sibling) == [sibling.detail]
        if seed < 3:
            one, other = build(product), build(sibling)
            assert not (
                np.array_equal(one.vertices, other.vertices) and np.array_equal(one.textures, other.textures)
            )


def test_a_phone_photo_is_rougher_than_a_studio_photo(stage: Stage) -> None:
    leaf = LEAVES[0]
    model = build(draw_product(leaf, np.random.default_rng(1)))

    def border_spread(style: object) -> float:
        shots = [
            photograph(model, leaf.pose, style, stage, np.random.default_rng(seed), 64)[0]
            for seed in range(8)
        ]
        return float(np.mean([shot[:6].std() for shot in shots]))

    assert border_spread(PHONE) > 2 * border_spread(STUDIO)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"products": 0}, "products"),
        ({"views": 1}, "views"),
        ({"image_size": 16}, "image_size"),
        ({"image_size": 4096}, "image_size"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidInputError, match=field) as caught:
        generate(tmp_path, seed=1, **{**SMALL, **wrong})
    assert caught.value.field == field


def test_a_folder_with_a_catalogue_is_left_alone(folder: Path) -> None:
    before = digests(folder)
    with pytest.raises(InvalidInputError, match=r"catalog\.csv"):
        generate(folder, seed=1, **SMALL)
    assert digests(folder) == before
