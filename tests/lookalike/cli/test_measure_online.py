"""What `lookalike evaluate` asks and how it counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lookalike.catalogue.catalog import Catalog, CatalogItem
from lookalike.catalogue.questions import Question, questions
from lookalike.cli.app import run
from lookalike.cli.measure_online import classification_figures, retrieval_figures
from lookalike.cli.ranking import Ranking
from lookalike.client import Hit
from lookalike.errors import InvalidInputError

FIGURES = {
    "queries",
    *("mar@1", "mar@10", "mar@10_capped", "recall@1"),
    *("exact_mar@10", "exact_mar@10_capped", "exact_recall@1"),
    *("accuracy", "violation_rate", "lca_height", "mistakes", "match", "latency_ms", "model_version"),
    *("codes_scanned_fraction", "throughput_qps"),
}


def item(name: str, product: str, *splits: str, categories: tuple[str, ...] = ()) -> CatalogItem:
    return CatalogItem(name, product, Path(f"{name}.jpg"), splits=frozenset(splits), categories=categories)


def ranking(
    hits: list[str],
    relevant: set[str],
    truth: tuple[str, ...] = (),
    predicted: dict[str, tuple[str, ...]] | None = None,
) -> Ranking:
    return Ranking(
        question=Question(item("q", "p", "query", categories=truth), frozenset(relevant), indexed=False),
        hits=tuple(Hit("p", name, 0.5) for name in hits),
        predicted=predicted or {},
        seconds=0.1,
        scanned_fraction=0.1,
        model_version="m",
    )


def test_questions_are_query_and_both_rows_with_another_right_answer() -> None:
    catalog = Catalog(
        (
            item("a", "p", "index"),
            item("b", "p", "both"),
            item("c", "p", "query"),
            item("lonely", "x", "both"),
            item("unknown", "y", "query"),
            item("t", "p", "train"),
        ),
        Path(),
    )
    asked = {question.item.item_id: question for question in questions(catalog)}
    assert set(asked) == {"b", "c"}
    assert asked["b"].relevant == {"a"}
    assert asked["b"].indexed
    assert asked["c"].relevant == {"a", "b"}
    assert not asked["c"].indexed


def test_a_catalogue_without_answerable_queries_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no query with a right answer"):
        questions(Catalog((item("a", "p", "index"), item("q", "other", "query")), Path()))


def test_retrieval_figures() -> None:
    many = {f"r{number}" for number in range(20)}
    found = retrieval_figures(
        [ranking(["r1", "x", "r2"], many), ranking(["x", "r1"], {"r1"}), ranking([], {"r1"})]
    )
    assert found == pytest.approx(
        {"mar@1": 1 / 60, "mar@10": (2 / 20 + 1) / 3, "mar@10_capped": (2 / 10 + 1) / 3, "recall@1": 1 / 3}
    )


def test_classification_counts_whole_paths_and_broken_trees() -> None:
    def predicted(meta: str, level2: tuple[str, str]) -> dict[str, tuple[str, ...]]:
        return {"meta": (meta,), "level2": level2}

    found = classification_figures(
        [
            ranking([], {"r"}, ("A", "x"), predicted("A", ("A", "x"))),
            ranking([], {"r"}, ("A", "x"), predicted("B", ("A", "x"))),
            ranking([], {"r"}, ("B", "x"), predicted("B", ("A", "x"))),
            ranking([], {"r"}, ("B",), predicted("B", ("B", "x"))),
        ]
    )
    assert found["accuracy"]["meta"] == pytest.approx({"micro": 3 / 4, "macro": 3 / 4})
    assert found["accuracy"]["level2"] == pytest.approx({"micro": 2 / 3, "macro": 1 / 2})
    assert found["accuracy"]["leaf"] is None
    assert found["violation_rate"] == 2 / 4
    # The third is right in "B" and wrong below nothing: its prediction lies under "A", at the root.
    assert found["mistakes"] == 1 / 4
    assert found["lca_height"] == 2


def test_a_model_without_categories_has_no_accuracy() -> None:
    found = classification_figures([ranking([], {"r"}, ("A",))])
    assert found == {
        "accuracy": {"meta": None, "level2": None, "leaf": None},
        **dict.fromkeys(("violation_rate", "lca_height", "mistakes")),
    }


def test_evaluate_writes_the_promised_fields(
    threaded_target: str, store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"jpeg")
    rows = ["i1,p1,photo.jpg,,A,,,both", "i2,p1,photo.jpg,,A,,,index", "q,p1,photo.jpg,,B,,,query"]
    catalog = tmp_path / "catalog.csv"
    catalog.write_text(
        "\n".join(["item_id,product_id,image_path,title,meta,level2,leaf,split", *rows]) + "\n"
    )
    out = tmp_path / "figures.json"
    arguments = ["evaluate", "--catalog", catalog, "--gateway", threaded_target]
    assert run([*map(str, arguments), "--json", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert set(figures) == FIGURES
    # The gateway answers i1, i2: i1 as a query is left out of its own answer.
    assert figures["queries"] == 2
    assert figures["recall@1"] == figures["mar@10"] == 1.0
    assert figures["mar@1"] == 0.75
    assert figures["codes_scanned_fraction"] == 0.25
    assert set(figures["latency_ms"]) == {"p50", "p95", "p99"}
    assert [(request.k, request.exact) for request in store.requests].count((11, True)) == 1
    assert not any(request.group_by_product for request in store.requests)
    assert "recall@1" in capsys.readouterr().out

    assert run([*map(str, arguments), "--json", "-"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == FIGURES
