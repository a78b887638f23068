from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hasher.index import NO_ID, HashIndex, IndexDamagedError
from lookalike.errors import DataLossError, NotSupportedError, Reason
from tests.hasher import oracle

Floats = NDArray[np.float32]
Ids = NDArray[np.uint64]


def clustered(
    products: int = 500, views: int = 6, dim: int = 256, leaves: int = 25, seed: int = 0
) -> tuple[Floats, Ids, Ids]:
    """Unit vectors of products (views at cosine about 0.8) in leaves (about 0.5), with ids and products."""
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, dim + 1) ** -0.3
    spectrum *= np.sqrt(dim / (spectrum**2).sum())

    def noise(n: int) -> NDArray[np.float64]:
        values: NDArray[np.float64] = np.multiply(rng.normal(size=(n, dim)), spectrum / np.sqrt(dim))
        return values

    leaf = noise(leaves)[rng.integers(0, leaves, products)]
    centres = np.sqrt(0.5) * leaf + np.sqrt(0.3) * noise(products)
    vectors = np.repeat(centres, views, axis=0) + np.sqrt(0.2) * noise(products * views)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = rng.permutation(products * views).astype(np.uint64) + np.uint64(10_000)
    return vectors.astype(np.float32), ids, np.repeat(np.arange(products, dtype=np.uint64), views)


def random_unit(count: int, dim: int) -> Floats:
    vectors = np.random.default_rng(count).normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def overlap(found: Ids, expected: Ids) -> float:
    return float(np.mean([np.isin(e, f).mean() for f, e in zip(found, expected, strict=True)]))


def quality(index: HashIndex, vectors: Floats, ids: Ids, products: Ids) -> tuple[float, float, float]:
    """Recall of the exact top 10 besides the query, of the same products in it, and the share scanned."""
    picked = np.random.default_rng(1).choice(len(vectors), 300, replace=False)
    found = index.search_detailed(vectors[picked], 11)
    exact = index.search_detailed(vectors[picked], 11, exact=True)
    product_of = dict(zip(ids.tolist(), products.tolist(), strict=True))
    shares = []
    for row, own in enumerate(products[picked].tolist()):
        same = [i for i in exact.ids[row].tolist() if product_of[i] == own]
        shares.append(np.isin(same, found.ids[row]).mean())
    scanned = float(found.codes_scanned.mean()) / len(vectors)
    return overlap(found.ids, exact.ids), float(np.mean(shares)), scanned


@pytest.mark.parametrize("family", ["learned", "hyperplane"])
def test_defaults_scan_little_and_miss_little(family: str) -> None:
    vectors, ids, products = clustered()
    index = HashIndex.build(vectors, ids, products, family=family)
    recall, same_product, scanned = quality(index, vectors, ids, products)
    assert recall >= 0.97
    assert same_product >= 0.995
    assert scanned <= 0.131


def test_the_default_keeps_a_byte_a_coordinate_and_misses_little_of_the_truth() -> None:
    vectors, ids, products = clustered()
    index = HashIndex.build(vectors, ids, products)
    assert index.stats()["rerank"] == "int8"
    assert index.stats()["vector_bytes"] == vectors.size
    truth = oracle.brute_force(vectors, ids, vectors[:200], 10)[0]
    assert overlap(index.search(vectors[:200], 10, effort=0.75)[0], truth) >= 0.98


def test_growing_from_nothing_is_as_good_as_a_fresh_build() -> None:
    vectors, ids, products = clustered()
    index = HashIndex.build(vectors[:0], ids[:0], products[:0])
    order = np.random.default_rng(2).permutation(len(vectors))
    for start in range(0, len(vectors), 130):
        batch = order[start : start + 130]
        index.add(vectors[batch], ids[batch], products[batch])
        found, _ = index.search(vectors[batch[:5]], 1)
        np.testing.assert_array_equal(found[:, 0], ids[batch[:5]])
    assert len(index) == len(vectors)
    recall, same_product, scanned = quality(index, vectors, ids, products)
    assert recall >= 0.96
    assert same_product >= 0.99
    assert scanned <= 0.131


def test_exact_search_equals_the_oracle() -> None:
    vectors, ids, products = clustered(products=80)
    index = HashIndex.build(vectors, ids, products, rerank="f32")
    found = index.search_detailed(vectors[:20] * 3, 12, exact=True)
    expected_ids, expected_scores = oracle.brute_force(vectors, ids, vectors[:20], 12)
    np.testing.assert_array_equal(found.ids, expected_ids)
    np.testing.assert_allclose(found.scores, expected_scores, atol=1e-6)
    np.testing.assert_array_equal(found.codes_scanned, len(vectors))


@pytest.mark.parametrize("family", ["learned", "hyperplane"])
def test_probing_all_buckets_and_reranking_all_equals_exact(family: str) -> None:
    vectors, ids, products = clustered(products=120)
    index = HashIndex.build(vectors, ids, products, family=family)
    assert index.stats()["family"] == family
    all_buckets = index.stats()["buckets_per_table"]
    queries = clustered(products=10, seed=5)[0]
    for group in (False, True):
        full = index.search_detailed(queries, 9, probes=all_buckets, rerank=len(ids), group=group)
        exact = index.search_detailed(queries, 9, group=group, exact=True)
        np.testing.assert_array_equal(full.ids, exact.ids)
        np.testing.assert_array_equal(full.scores, exact.scores)
        np.testing.assert_array_equal(full.codes_scanned, len(vectors))


@pytest.mark.parametrize(
    ("family", "tables", "probes"), [("learned", 1, (1, 4, 20)), ("hyperplane", 2, (1, 30, 400))]
)
def test_more_probes_scan_more_and_find_more(family: str, tables: int, probes: tuple[int, ...]) -> None:
    vectors, ids, products = clustered()
    index = HashIndex.build(vectors, ids, products, family=family, tables=tables)
    exact, _ = index.search(vectors[:100], 10, exact=True)
    results = [index.search_detailed(vectors[:100], 10, probes=p) for p in probes]
    scanned = [int(r.codes_scanned.sum()) for r in results]
    recalls = [overlap(r.ids, exact) for r in results]
    assert scanned == sorted(set(scanned))
    assert recalls == sorted(set(recalls))


def test_hamming_estimates_find_less_with_the_same_work() -> None:
    vectors, ids, products = clustered()
    index = HashIndex.build(vectors, ids, products)
    queries = vectors[:300]
    exact = index.search(queries, 10, exact=True)[0]
    found = {
        estimate: index.search_detailed(queries, 10, probes=40, rerank=20, estimate=estimate)
        for estimate in ["asymmetric", "hamming"]
    }
    recalls = {estimate: overlap(result.ids, exact) for estimate, result in found.items()}
    assert recalls["asymmetric"] > recalls["hamming"] + 0.02 > 0.5
    np.testing.assert_array_equal(found["asymmetric"].codes_scanned, found["hamming"].codes_scanned)
    assert (np.diff(found["hamming"].scores) <= 0).all()
    everything: dict[str, Any] = {"probes": 2**20, "rerank": len(ids)}
    all_ids, scores = index.search(queries, 10, estimate="hamming", **everything)
    np.testing.assert_array_equal(all_ids, exact)
    np.testing.assert_array_equal(scores, index.search(queries, 10, **everything)[1])


def test_grouping_returns_distinct_products_with_their_best_item() -> None:
    vectors, ids, products = clustered(products=60)
    products[:200] = 7  # one product owns more items than the automatic number of candidates
    index = HashIndex.build(vectors, ids, products)
    result = index.search_detailed(vectors[:30], 10, group=True)
    product_of = dict(zip(ids.tolist(), products.tolist(), strict=True))
    for row in range(30):
        found = [product_of[i] for i in result.ids[row].tolist()]
        assert len(set(found)) == 10
        assert found == result.products[row].tolist()
    np.testing.assert_array_equal(result.ids[:, 0], ids[:30])


def test_results_are_padded_and_ties_go_to_smaller_ids() -> None:
    vectors = np.tile(np.eye(1, 8, dtype=np.float32), (4, 1))
    index = HashIndex.build(vectors, np.array([9, 4, 7, 2], np.uint64))
    ids, scores = index.search(vectors[:1], 6)
    assert ids.tolist() == [[2, 4, 7, 9, NO_ID, NO_ID]]
    np.testing.assert_array_equal(scores, np.array([[1, 1, 1, 1, -np.inf, -np.inf]], np.float32))
    empty = HashIndex.build(vectors[:0], np.empty(0, np.uint64)).search_detailed(vectors, 2)
    assert empty.ids.tolist() == [[NO_ID, NO_ID]] * 4
    assert empty.codes_scanned.tolist() == [0] * 4
    assert index.search(vectors[:0], 3)[0].shape == (0, 3)


def test_adding_replaces_and_removing_forgets() -> None:
    vectors, ids, products = clustered(products=100)
    index = HashIndex.build(vectors, ids, products)
    index.add(-vectors[:1], ids[:1], np.array([999], np.uint64))
    assert len(index) == len(ids)
    result = index.search_detailed(-vectors[:1], 1)
    assert (result.ids[0, 0], result.products[0, 0]) == (ids[0], 999)
    assert ids[0] not in index.search(vectors[:1], 20)[0]
    assert index.remove(ids[:300]) == 300
    assert index.remove(ids[:301]) == 1
    assert len(index) == len(ids) - 301
    assert not np.isin(index.search(vectors[:50], 50)[0], ids[:301]).any()
    index.remove(ids)
    assert len(index) == 0
    assert (index.search(vectors[:3], 2)[0] == NO_ID).all()


def test_threads_and_batches_do_not_change_results() -> None:
    vectors, ids, products = clustered(products=200)
    one, two = (HashIndex.build(vectors, ids, products, threads=t) for t in (1, 2))
    expected = one.search_detailed(vectors[:64], 10)
    for other in (one.search_detailed(vectors[:64], 10, threads=2), two.search_detailed(vectors[:64], 10)):
        np.testing.assert_array_equal(other.ids, expected.ids)
        np.testing.assert_array_equal(other.scores, expected.scores)
        np.testing.assert_array_equal(other.codes_scanned, expected.codes_scanned)
    single = np.concatenate([one.search(vectors[i : i + 1], 10)[0] for i in range(64)])
    np.testing.assert_array_equal(single, expected.ids)
    assert set(expected.seconds) == {"hash", "probe", "scan", "rerank"}
    assert all(value > 0 for value in expected.seconds.values())


@pytest.mark.parametrize("bits", [64, 256, 2048])
@pytest.mark.parametrize("dim", [3, 100, 256])
def test_codes_below_at_and_above_the_dimension_work(bits: int, dim: int) -> None:
    vectors, ids, products = clustered(products=60, dim=dim)
    index = HashIndex.build(vectors, ids, products, bits=bits)
    np.testing.assert_array_equal(index.search(vectors[:20], 1)[0][:, 0], ids[:20])
    assert index.stats()["code_bytes"] == len(ids) * bits // 8


def test_saved_and_opened_index_answers_the_same(tmp_path: Path) -> None:
    vectors, ids, products = clustered(products=150)
    index = HashIndex.build(vectors[:-50], ids[:-50], products[:-50])
    index.add(vectors[-50:], ids[-50:], products[-50:])
    index.remove(ids[:40])
    index.save(tmp_path / "index")
    index.save(tmp_path / "index")
    opened = HashIndex.open(tmp_path / "index")
    before, after = (ix.search_detailed(vectors[:80], 10, group=True) for ix in (index, opened))
    np.testing.assert_array_equal(before.ids, after.ids)
    np.testing.assert_array_equal(before.scores, after.scores)
    np.testing.assert_array_equal(before.codes_scanned, after.codes_scanned)
    opened.add(vectors[:40], ids[:40], products[:40])
    assert len(opened) == len(ids)


def test_damaged_folders_raise_the_typed_error(tmp_path: Path) -> None:
    vectors, ids, products = clustered(products=50, dim=16)
    HashIndex.build(vectors, ids, products, bits=64).save(tmp_path)
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        file.write_bytes(bad if rng.random() < 0.5 else good[: rng.integers(len(good))])
        with pytest.raises(IndexDamagedError):
            HashIndex.open(tmp_path)
    file.unlink()
    with pytest.raises(IndexDamagedError, match="missing") as caught:
        HashIndex.open(tmp_path)
    assert isinstance(caught.value, DataLossError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.reason is Reason.STORE_DAMAGED


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    index = HashIndex.build(np.eye(3, dtype=np.float32), np.arange(3, dtype=np.uint64))
    with pytest.raises(OSError, match=r"exists|directory"):
        index.save(tmp_path / "file")


V = np.eye(4, dtype=np.float32)
I = np.arange(4, dtype=np.uint64)  # noqa: E741
NAN, ZERO = V.copy(), V.copy()
NAN[2, 1], ZERO[3] = np.inf, 0


@pytest.mark.parametrize(
    ("vectors", "ids", "options", "message"),
    [
        (V.astype(np.float64), I, {}, "float32"),
        (V.tolist(), I, {}, "float32"),
        (V[0], I, {}, "shape"),
        (np.asfortranarray(V + 1), I, {}, "C-contiguous"),
        (NAN, I, {}, "vector 2 has a NaN or infinite"),
        (ZERO, I, {}, "vector 3 has zero length"),
        (V[:, :0].copy(), I, {}, "dimension must be 1"),
        (V, I[:3], {}, "4 vectors but 3 ids"),
        (V, I.astype(np.int64), {}, "uint64"),
        (V, I.reshape(2, 2), {}, r"shape \(n,\)"),
        (V, np.array([1, 2, 1, 3], np.uint64), {}, "id 1 appears more than once"),
        (V, np.array([1, 2, NO_ID, 3], np.uint64), {}, "cannot be an id"),
        (V, I, {"products": I[:2]}, "4 ids but 2 products"),
        (V, I, {"bits": 100}, "multiple of 64"),
        (V, I, {"bits": 4096}, "bits must be 64 to 2048"),
        (V, I, {"tables": 0}, "tables"),
        (V, I, {"tables": 2}, "learned family has 1 table"),
        (V, I, {"seed": -1}, "seed"),
        (V, I, {"seed": 1.5}, "integer"),
    ],
)
def test_wrong_input_is_refused(vectors: Floats, ids: Ids, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HashIndex.build(vectors, ids, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("queries", "options", "message"),
    [
        (V[:, :3].copy(), {}, "dimension 4, not 3"),
        (NAN, {}, "NaN"),
        (V, {"k": 0}, "k must be"),
        (V[:2], {"k": 2**23 + 1}, "k must be at most 8,388,608 for 2 queries in one call, not 8,388,609"),
        (V[:1], {"k": 2**31 - 1}, "k must be 1 to 16777216, not 2147483647"),
        (V, {"k": True}, "integer"),
        (V, {"probes": 0}, "probes"),
        (V, {"k": 5, "rerank": 4}, "rerank must be at least k"),
        (V, {"threads": -1}, "threads"),
    ],
)
def test_wrong_searches_are_refused(queries: Floats, options: dict[str, int], message: str) -> None:
    index = HashIndex.build(V, I)
    with pytest.raises(ValueError, match=message):
        index.search(queries, **options)  # type: ignore[arg-type]


def test_a_refused_batch_adds_nothing() -> None:
    index = HashIndex.build(V, I)
    with pytest.raises(ValueError, match="NaN"):
        index.add(NAN, I + np.uint64(10))
    with pytest.raises(ValueError, match="dimension 4, not 2"):
        index.add(np.ones((1, 2), np.float32), I[:1])
    assert len(index) == 4


@pytest.mark.parametrize("build", [{"family": "kd_tree"}, {"rerank": "int4"}])
def test_unknown_families_and_reranks_are_named(build: dict[str, Any]) -> None:
    with pytest.raises(NotSupportedError, match="not available in this version") as caught:
        HashIndex.build(V, I, **build)
    assert caught.value.field in build


def test_unknown_estimates_are_named() -> None:
    with pytest.raises(NotSupportedError, match="use one of asymmetric, hamming") as caught:
        HashIndex.build(V, I).search(V, 1, estimate="cosine")
    assert caught.value.field == "estimate"


@pytest.mark.parametrize(
    "how", [{"effort": 1.5}, {"effort": "much"}, {"effort": float("nan")}, {"filter": "x"}]
)
def test_wrong_efforts_and_filters_are_refused(how: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(how))):
        HashIndex.build(V, I).search(V, 1, **how)


@pytest.mark.parametrize(("rerank", "error"), [("f32", 1e-5), ("f16", 1e-3), ("int8", 1e-2)])
def test_scores_are_as_exact_as_the_stored_vectors(rerank: str, error: float, tmp_path: Path) -> None:
    vectors, ids = random_unit(3_000, 48), np.arange(3_000, dtype=np.uint64)
    index = HashIndex.build(vectors, ids, rerank=rerank)
    found, scores = index.search(vectors[:50], 10)
    cosines = np.einsum("qd,qkd->qk", vectors[:50], vectors[found.astype(np.int64)])
    assert np.abs(cosines - scores).max() < error
    assert (found[:, 0] == ids[:50]).all()
    index.save(tmp_path)
    reopened = HashIndex.open(tmp_path)
    assert reopened.stats()["rerank"] == rerank
    assert (reopened.search(vectors[:50], 10)[1] == scores).all()


@pytest.mark.parametrize("family", ["learned", "hyperplane", "cross_polytope"])
def test_more_effort_looks_at_more_and_finds_more(family: str) -> None:
    vectors, ids = random_unit(6_000, 32), np.arange(6_000, dtype=np.uint64)
    index = HashIndex.build(vectors, ids, family=family, rerank="f32")
    queries = random_unit(200, 32)
    truth = index.search(queries, 10, exact=True)[0]
    recalls, scanned = [], []
    for effort in [0.0, 0.25, 0.5, 0.75, 1.0]:
        result = index.search_detailed(queries, 10, effort=effort)
        recalls.append(np.mean([np.isin(t, r).mean() for t, r in zip(truth, result.ids, strict=True)]))
        scanned.append(result.codes_scanned.mean())
    assert scanned == sorted(scanned)
    assert np.diff(recalls).min() > -0.01
    assert recalls[-1] == 1.0
    assert recalls[0] < 0.9


def test_tuning_finds_the_least_effort_for_a_recall() -> None:
    vectors, ids, products = clustered()
    index = HashIndex.build(vectors, ids, products)
    efforts = [index.tune(target) for target in (0.5, 0.9, 0.99)]
    assert efforts == sorted(efforts)
    assert efforts[0] < efforts[2]
    picked = vectors[:300]
    truth = index.search(picked, 10, exact=True)[0]
    assert overlap(index.search(picked, 10)[0], truth) > 0.97
    assert index.tune(0.9, queries=picked) <= efforts[2]
    with pytest.raises(ValueError, match="target_recall"):
        index.tune(1.5)
    with pytest.raises(ValueError, match="empty"):
        HashIndex.build(vectors[:0], ids[:0]).tune(0.9)


def test_the_index_needs_no_grpc() -> None:
    code = "import sys; sys.modules['grpc'] = None; import hasher.index"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
