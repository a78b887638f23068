"""`lookalike evaluate --bundle`: figures without services, and the catalogues that it reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embedder.backends.onnx import OnnxEncoder
from embedder.bundle import load_bundle
from embedder.evaluation.offline import evaluate_bundle, rank_items
from embedder.evaluation.retrieval import Options
from embedder.preprocess import preprocess
from lookalike.catalogue.catalog import Catalog, CatalogItem, read_catalog, write_catalog
from lookalike.catalogue.questions import Question
from lookalike.categories.tree import PathTree
from lookalike.cli.app import run
from lookalike.errors import InvalidInputError

PRODUCTS, VIEWS = 6, 4
KNOWN = (("clothes", "sport", "running"), ("clothes", "sport"), ("shoes", "street"))
RETRIEVAL = ("mar@1", "mar@10", "mar@10_capped", "recall@1", "map@r")
FIGURES = {
    *("queries", "queries_without_answer", "index", *RETRIEVAL),
    *(f"exact_{name}" for name in RETRIEVAL if name != "mar@1"),
    *("accuracy", "violation_rate", "lca_height", "mistakes", "unknown_categories", "val"),
    *("match", "options", "bad_photos", "model_version", "with_vote"),
}


def photo(file: Path, product: int, view: int, spread: float = 140) -> Path:
    """A grid of colours that is the product's, with noise that is the view's."""
    grid = np.random.default_rng(product).integers(0, 256, (4, 4, 3))
    noise = np.random.default_rng([product, view]).normal(0, spread, (4, 4, 3))
    pixels = np.clip(grid + noise, 0, 255).astype(np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((32, 32), Image.Resampling.NEAREST).save(file)
    return file


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Six products: two indexed photos, one that is also a query, one query, and a val photo each."""
    categories = (*KNOWN, ("new", "unseen"), ())
    items = [
        CatalogItem(
            f"{product}-{view}",
            f"p{product}",
            photo(tmp_path / "photos" / f"{product}-{view}.png", product, view),
            categories=categories[product % len(categories)],
            splits=frozenset({("index", "both", "query", "val")[view]}),
        )
        for product in range(PRODUCTS)
        for view in range(VIEWS)
    ]
    write_catalog(tmp_path / "catalog.csv", items)
    return tmp_path / "catalog.csv"


def evaluate(*arguments: object) -> int:
    return run(["evaluate", *map(str, arguments)])


def figures_of(tmp_path: Path, *arguments: object) -> dict[str, Any]:
    out = tmp_path / "figures.json"
    assert evaluate(*arguments, "--json", out) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_figures_are_those_of_a_naive_search(shop: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    found = figures_of(tmp_path, "--catalog", shop, "--bundle", tiny_bundle)
    assert set(found) == FIGURES
    catalog, bundle = read_catalog(shop), load_bundle(tiny_bundle)
    encoder = OnnxEncoder(bundle)
    vectors = {
        item.item_id: encoder.encode(preprocess(item.image_path.read_bytes(), bundle.preprocess)[None])
        for item in catalog.items
    }
    first, recall_1, leaf = [], [], []
    for query in catalog.query_items():
        scores = {
            item.item_id: float(vectors[query.item_id].embedding[0] @ vectors[item.item_id].embedding[0])
            for item in catalog.index_items()
            if item.item_id != query.item_id
        }
        truth = {i for i in scores if i.split("-")[0] == query.item_id.split("-")[0]}
        best = max(scores, key=lambda i: scores[i])
        first.append(best in truth)
        recall_1.append((best in truth) / len(truth))
        if len(query.categories) == 3:
            tree = PathTree(bundle.taxonomy.paths)
            guess = tree.ends[int(tree.posterior(vectors[query.item_id].probabilities).argmax())]
            leaf.append(guess == query.categories)
    assert found["queries"] == 2 * PRODUCTS
    assert found["recall@1"] == found["exact_recall@1"] == pytest.approx(np.mean(first))
    assert 0.2 < found["recall@1"] < 1
    assert found["mar@1"] == pytest.approx(np.mean(recall_1))
    assert found["accuracy"]["leaf"]["micro"] == pytest.approx(np.mean(leaf))
    assert found["violation_rate"] == found["val"]["violation_rate"] == 0
    by_vote = found["with_vote"], found["val"]["with_vote"]
    assert [figures["violation_rate"] for figures in by_vote] == [0, 0]
    # Only neighbours know the category of the fourth product.
    assert by_vote[0]["accuracy"]["level2"]["micro"] > found["accuracy"]["level2"]["micro"]
    assert found["options"].keys() == {"plain"}
    assert found["model_version"] == bundle.model_version
    assert found["bad_photos"] == {}
    assert found["unknown_categories"] == 2  # both queries for the fourth product, none of fewer levels


def test_categories_that_the_model_never_saw_are_mistakes(
    shop: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    rows = [item for item in read_catalog(shop).items if item.product_id == "p3"]
    write_catalog(tmp_path / "unseen.csv", rows)
    found = figures_of(tmp_path, "--catalog", tmp_path / "unseen.csv", "--bundle", tiny_bundle)
    assert found["accuracy"]["meta"] == found["accuracy"]["level2"] == {"micro": 0, "macro": 0}
    assert found["accuracy"]["leaf"] is None
    assert found["mistakes"] == found["val"]["mistakes"] == 1
    assert found["lca_height"] >= 2
    assert found["val"]["rows"] == found["val"]["unknown_categories"] == 1
    assert found["unknown_categories"] == found["queries"]


def test_each_option_is_measured_against_the_plain_search(
    shop: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = figures_of(
        tmp_path, "--catalog", shop, "--bundle", tiny_bundle, "--whiten", "--rerank", "--expand", 2, "--k", 12
    )
    whole = "whiten+expand 2+rerank"
    assert list(found["options"]) == ["plain", "whiten", "expand 2", "rerank", whole]
    for name in (*RETRIEVAL, "mar@12", "mar@12_capped"):
        assert found[name] == found["options"][whole][name]
        plain = found["options"]["plain"][name]
        assert found.get(f"exact_{name}", plain) == plain
        difference = found["options"][whole]["difference_to_plain"][name]
        assert difference["difference"] == pytest.approx(found[name] - plain)
        assert difference["interval"][0] <= difference["difference"] <= difference["interval"][1]
    assert "difference_to_plain" not in found["options"]["plain"]
    printed = capsys.readouterr().out
    assert "recall@1" in printed
    assert printed.count("interval_by_product") == printed.count(" interval ") > 0


def test_a_model_is_compared_with_another(
    shop: Path, tiny_bundle: Path, make_tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    other = make_tiny_bundle(seed=5)
    found = figures_of(tmp_path, "--catalog", shop, "--bundle", tiny_bundle, "--against", other)
    alone = figures_of(tmp_path, "--catalog", shop, "--bundle", other)
    against = found["against"]
    assert against["model_version"] == alone["model_version"] != found["model_version"]
    assert against["map@r"] == alone["map@r"]
    assert against["difference"]["map@r"]["difference"] == pytest.approx(found["map@r"] - alone["map@r"])
    itself = figures_of(tmp_path, "--catalog", shop, "--bundle", tiny_bundle, "--against", tiny_bundle)
    assert itself["against"]["difference"]["recall@1"]["interval_by_product"] == [0, 0]


def test_photos_that_cannot_be_read_find_nothing_and_are_not_found(
    shop: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = figures_of(tmp_path, "--catalog", shop, "--bundle", tiny_bundle)
    for name in ("0-0", "1-2", "2-1"):
        (tmp_path / "photos" / f"{name}.png").write_bytes(b"this is not a photo")
    found = figures_of(tmp_path, "--catalog", shop, "--bundle", tiny_bundle, "--rerank")
    assert set(found["bad_photos"]) == {"0-0", "1-2", "2-1"}
    assert "not of a supported format" in found["bad_photos"]["0-0"]
    assert "cannot be read: 0-0" in capsys.readouterr().err
    assert found["queries"] == whole["queries"]
    # The two unreadable queries have nothing, and 0-1 loses its only right answer.
    assert found["exact_recall@1"] <= (whole["queries"] - 3) / whole["queries"]


def test_a_catalogue_without_queries_is_measured_on_its_val_rows(
    shop: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    write_catalog(tmp_path / "val.csv", read_catalog(shop).rows("val"))
    found = figures_of(tmp_path, "--catalog", tmp_path / "val.csv", "--bundle", tiny_bundle)
    assert found["queries"] == found["index"] == 0
    assert found["val"]["rows"] == 5  # one has no category
    assert found["val"]["accuracy"]["meta"]["micro"] <= 4 / 5  # "new" is unknown to the model
    assert "recall@1" not in found


def test_products_can_be_held_out(shop: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    counts = [
        figures_of(tmp_path, "--catalog", shop, "--bundle", tiny_bundle, "--split-by-product", f"{fold}/2")
        for fold in range(2)
    ]
    assert sum(found["queries"] for found in counts) == 2 * PRODUCTS
    assert all(found["index"] == 2 * PRODUCTS for found in counts)


def eproduct(folder: Path) -> Path:
    """Two labelled photos, 12 in the index, two queries."""
    (folder / "metadata").mkdir(parents=True)
    files = {"val": 2, "index": 12, "query_part1": 2}
    for offset, (name, count) in enumerate(files.items()):
        labels = (",AUCT_TITL,META_CATEG_ID,CATEG_LVL2_ID,LEAF_CATEG_ID", ",A title,1,2,3")
        header, label = labels if name == "val" else ("", "")
        lines = [f"UUID,IMAGE_PATH{header}"]
        for number in range(count):
            uuid = f"{offset}{number:015d}"
            photo(folder / "Images" / name / f"{uuid}.png", number % 6, 10 * offset + number, spread=20)
            lines.append(f"{uuid},{name}/{uuid}.png{label}")
        (folder / "metadata" / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_eproduct_is_read_and_answered(tiny_bundle: Path, tmp_path: Path) -> None:
    folder, out = eproduct(tmp_path / "eproduct"), tmp_path / "submission.csv"
    (folder / "Images" / "query_part1" / f"2{1:015d}.png").write_bytes(b"broken")
    found = figures_of(
        tmp_path, *("--catalog", folder, "--format", "eproduct"), "--bundle", tiny_bundle, "--submission", out
    )
    assert (found["queries"], found["queries_without_answer"], found["index"]) == (0, 2, 12)
    assert found["val"]["accuracy"]["leaf"] == {"micro": 0, "macro": 0}
    first, second = (line.split(",") for line in out.read_text().splitlines())
    assert first[0] == f"2{0:015d}"
    assert len(set(first[1].split(" "))) == 10
    # The nearest is the same product: a photo with the same number modulo six.
    assert int(first[1].split(" ")[0][1:]) % 6 == 0
    # The unreadable query is answered too, with the first ids.
    assert second[1].split(" ") == [f"1{number:015d}" for number in range(10)]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--bundle", "B", "--gateway", "127.0.0.1:1"], "measures without services and --gateway with them"),
        (["--bundle", "B", "--collection", "shop"], "measures without services and --collection with them"),
        (["--whiten"], "--whiten is measured without services: give --bundle DIR"),
        (["--submission", "out.csv"], "--submission is measured without services"),
        (["--bundle", "/nowhere/bundle"], "not a valid model bundle"),
        (["--bundle", "B", "--split-by-product", "1"], "such as 0/5, not '1'"),
        (["--bundle", "B", "--split-by-product", "5/5"], "not 5/5"),
        (["--bundle", "B", "--format", "eproduct"], "not in eProduct's layout"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    shop: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    catalog = shop.parent if "eproduct" in arguments else shop
    assert evaluate("--catalog", catalog, *arguments) == 2
    err = capsys.readouterr().err
    assert text in err
    assert len(err.splitlines()) == 1


def test_without_services_and_without_a_bundle_the_way_out_is_named(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("--catalog", shop, "--gateway", "127.0.0.1:1") == 1
    err = capsys.readouterr().err
    assert "to measure a model without services, give --bundle DIR" in err
    assert len(err.splitlines()) == 1


def test_the_gateways_address_may_stay_in_the_environment(
    shop: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOOKALIKE_GATEWAY", "127.0.0.1:1")
    assert evaluate("--catalog", shop, "--bundle", tiny_bundle, "--json", "-") == 0
    assert set(json.loads(capsys.readouterr().out)) == FIGURES


@pytest.mark.parametrize(
    ("splits", "text"),
    [("query", "queries but no index"), ("index", "nothing to measure"), ("val", "nothing to")],
)
def test_a_catalogue_with_nothing_to_measure_is_refused(
    tmp_path: Path, tiny_bundle: Path, splits: str, text: str
) -> None:
    item = CatalogItem("a", "p", photo(tmp_path / "a.png", 0, 0), splits=frozenset({splits}))
    with pytest.raises(InvalidInputError, match=text):
        evaluate_bundle(Catalog((item,), tmp_path), tiny_bundle, options=Options(), update=lambda *_: None)


def test_rankings_are_as_deep_as_there_are_right_answers() -> None:
    names = [f"i{number:02d}" for number in range(30)]
    vectors = dict(zip(names, np.eye(30, dtype=np.float32), strict=True)) | {"q": np.ones(30, np.float32)}
    asked = Question(CatalogItem("q", "p", Path("q.jpg")), frozenset(names[:25]), indexed=False)
    (outcome,) = rank_items([asked], names, vectors)
    # All scores are equal, so ids decide.
    assert outcome.ranked == names[:25]
    (reranked,) = rank_items([asked], names, vectors, Options(rerank=True))
    assert len(set(reranked.ranked)) == 25


def test_an_eproduct_catalogue_can_be_indexed(
    threaded_target: str, store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = eproduct(tmp_path / "eproduct")
    arguments = ["index", "--catalog", folder, "--format", "eproduct", "--gateway", threaded_target]
    assert run([*map(str, arguments), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["indexed"] == len(store.items) == 12
