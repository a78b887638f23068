from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine.catalogue import (
    LEAVES,
    MAX_IMAGES,
    Catalogue,
    Spec,
    exact_top,
    image_counts,
    load_or_generate,
    zipf,
)

SPEC = Spec(dim=32, items=70_000, seed=5, queries=50)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return load_or_generate(SPEC, tmp_path_factory.mktemp("cache"), lambda text: None)


def test_rows_are_unit_vectors_and_ids_are_in_range(catalogue: Catalogue) -> None:
    for rows in (catalogue.vectors, catalogue.queries):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert catalogue.vectors.shape == (70_000, 32)
    assert catalogue.vectors.dtype == np.float32
    assert catalogue.query_products.max() <= catalogue.products.max()


def test_equal_specs_give_equal_bytes_and_other_seeds_other_ones(tmp_path: Path) -> None:
    spec = Spec(dim=16, items=3_000, seed=1, queries=20)
    first, again, other = (
        load_or_generate(Spec(16, 3_000, seed, 20), tmp_path / name, lambda text: None)
        for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    )
    names = sorted(file.name for file in (tmp_path / "a" / spec.folder_name).glob("*.npy"))
    assert names == [
        f"{n}.npy" for n in ("leaf", "products", "queries", "query_products", "truth", "vectors")
    ]
    for name in names:
        assert (first.folder / name).read_bytes() == (again.folder / name).read_bytes()
    assert not np.array_equal(first.vectors, other.vectors)


def test_an_unfinished_catalogue_is_made_again(tmp_path: Path) -> None:
    spec = Spec(dim=8, items=500, seed=1, queries=5)
    made = load_or_generate(spec, tmp_path, lambda text: None)
    (made.folder / "DONE").unlink()
    (made.folder / "queries.npy").write_bytes(b"cut off")
    again = load_or_generate(spec, tmp_path, lambda text: None)
    assert again.queries.shape == (5, 8)


def test_images_per_product_follow_zipf() -> None:
    counts = np.bincount(image_counts(200_000, np.random.default_rng(0)))
    expected = zipf(MAX_IMAGES, 1.7)
    shares = np.bincount(counts, minlength=MAX_IMAGES + 1)[1:] / len(counts)
    assert counts.sum() == 200_000
    assert counts.max() <= MAX_IMAGES
    np.testing.assert_allclose(shares, expected, atol=0.005)


def test_products_have_one_leaf_and_popularity_follows_zipf(catalogue: Catalogue) -> None:
    leaf_of_row = np.load(catalogue.folder / "leaf.npy")
    products, first = np.unique(catalogue.products, return_index=True)
    np.testing.assert_array_equal(
        leaf_of_row[first][np.searchsorted(products, catalogue.products)], leaf_of_row
    )
    counts = np.bincount(leaf_of_row[first], minlength=LEAVES)
    expected = zipf(LEAVES, 0.7)
    # The first and the rarest hundred leaves hold the shares that the exponent says.
    assert counts[:10].sum() / counts.sum() == pytest.approx(expected[:10].sum(), rel=0.1)
    assert counts[-100:].sum() / counts.sum() == pytest.approx(expected[-100:].sum(), rel=0.2)


def test_images_of_a_product_are_closer_than_those_of_its_leaf_and_of_others(catalogue: Catalogue) -> None:
    leaves = np.load(catalogue.folder / "leaf.npy")
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(leaves), 2_000)
    cosines = np.array(catalogue.vectors[rows]) @ np.array(catalogue.vectors[rows]).T
    off = ~np.eye(len(rows), dtype=bool)
    same_leaf = (leaves[rows][:, None] == leaves[rows]) & off
    same_product = (catalogue.query_products[:, None] == catalogue.products).argmax(axis=1)
    own = np.einsum("qd,qd->q", catalogue.queries, catalogue.vectors[same_product])
    assert own.mean() > cosines[same_leaf].mean() + 0.1
    assert cosines[same_leaf].mean() > cosines[~same_leaf & off].mean() + 0.1


def test_the_standard_deviations_fall_with_the_stated_exponent(catalogue: Catalogue) -> None:
    vectors = np.array(catalogue.vectors, np.float64)
    # Among the images of one product only the noise differs, whose axes the rotation has turned.
    order = np.argsort(catalogue.products, kind="stable")
    same = catalogue.products[order][1:] == catalogue.products[order][:-1]
    differences = (vectors[order][1:] - vectors[order][:-1])[same]
    deviations = np.linalg.svd(differences, compute_uv=False)
    slope = np.polyfit(np.log(np.arange(1, 33)), np.log(deviations), 1)[0]
    assert slope == pytest.approx(-0.75, abs=0.12)


def test_truth_is_the_exact_answer(catalogue: Catalogue) -> None:
    scores = catalogue.queries.astype(np.float64) @ np.array(catalogue.vectors, np.float64).T
    best = np.sort(scores, axis=1)[:, ::-1][:, :10]
    np.testing.assert_allclose(np.take_along_axis(scores, catalogue.truth, axis=1), best, atol=1e-6)


def test_exact_top_honours_the_allowed_rows(catalogue: Catalogue) -> None:
    allowed = np.zeros(len(catalogue.vectors), bool)
    allowed[::1_000] = True
    rows = exact_top(catalogue.vectors, catalogue.queries, 5, allowed)
    scores = catalogue.queries @ np.array(catalogue.vectors[::1_000]).T
    np.testing.assert_array_equal(rows, np.argsort(-scores, axis=1)[:, :5] * 1_000)
