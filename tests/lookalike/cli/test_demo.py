"""The parts of the demo that need no running services."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageColor

from lookalike.catalogue.catalog import Catalog, CatalogItem
from lookalike.catalogue.questions import Question
from lookalike.cli.demo.examples import EXAMPLES, HITS, Example, draw_examples
from lookalike.cli.demo.folder import DemoFolder
from lookalike.cli.demo.page import render_page
from lookalike.cli.demo.report import DemoReport, print_report
from lookalike.cli.demo.sheet import RIGHT, WRONG, draw_sheet
from lookalike.cli.ranking import Ranking
from lookalike.client import Hit
from lookalike.errors import FailedPreconditionError, InvalidInputError

FIGURES: dict[str, Any] = {
    "queries": 400,
    "mar@1": 0.1,
    "mar@10": 0.5,
    "mar@10_capped": 0.6,
    "recall@1": 0.7,
    "exact_mar@10": 0.5,
    "exact_mar@10_capped": 0.6,
    "exact_recall@1": 0.7,
    "accuracy": {"meta": {"micro": 0.9, "macro": 0.8}, "level2": None, "leaf": None},
    "violation_rate": None,
    "latency_ms": {"p50": 10.0, "p95": 20.0, "p99": 30.0},
    "throughput_qps": 100.0,
    "codes_scanned_fraction": 0.12,
    "model_version": "m",
}
BACKBONE = {"mar@10": 0.4, "mar@10_capped": 0.5, "recall@1": 0.55}


def report(item_count: int = 3000, **figures: Any) -> DemoReport:
    return DemoReport(
        figures={**FIGURES, **figures},
        backbone=BACKBONE,
        item_count=item_count,
        ingest_items_per_second=50.0,
        concurrency=2,
        stage_seconds={"Training": 60.0, "Evaluation": 40.0},
    )


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Twenty products of five categories with two photos each, one of them a query."""
    items = []
    for number in range(20):
        path = tmp_path / f"{number}.jpg"
        Image.new("RGB", (60, 40), "blue").save(path)
        categories = ("Home", f"Kind {number % 5}")
        title = f"<Lamp & {number}>"
        for role in ("index", "query"):
            name = f"{role}{number}"
            items.append(CatalogItem(name, f"p{number}", path, title, categories, splits=frozenset({role})))
    return Catalog(tuple(items), tmp_path)


def rankings(catalog: Catalog) -> list[Ranking]:
    index = catalog.index_items()
    found = []
    for query in catalog.query_items():
        hits = tuple(Hit(row.product_id, row.item_id, 0.5, row.title) for row in index[:9])
        right = frozenset(row.item_id for row in index if row.product_id == query.product_id)
        found.append(Ranking(Question(query, right, indexed=False), hits, {}, 0.1, 0.1, "m"))
    return found


@pytest.fixture
def examples(catalog: Catalog) -> list[Example]:
    return draw_examples(rankings(catalog), catalog, seed=1)


def test_good_figures_have_no_problems() -> None:
    assert report().problems() == []


@pytest.mark.parametrize(
    ("figures", "problem", "judged_items"),
    [
        ({"mar@10": 0.49}, "0.9800 of brute force; 0.99 is required", 2000),
        ({"codes_scanned_fraction": 0.151}, "15.1% of the codes were scanned", 2000),
    ],
)
def test_bad_figures_are_problems_except_on_a_small_catalogue(
    figures: dict[str, Any], problem: str, judged_items: int
) -> None:
    (found,) = report(judged_items, **figures).problems()
    assert problem in found
    assert report(judged_items - 1, **figures).problems() == []


def test_a_catalogue_that_is_scanned_as_a_whole_is_called_small() -> None:
    def remark(**figures: Any) -> str:
        return next(row.remark for row in report(**figures).rows() if row.name == "Codes scanned")

    assert remark() == "at most 15% from 2,000 photos on"
    assert remark(codes_scanned_fraction=1.0) == "small catalogue: brute force"


def test_the_report_shows_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report())
    captured = capsys.readouterr()
    for text in (
        "0.700",
        "plain backbone 0.400",
        "100.00% of it",
        "12.0%",
        "Accuracy, meta",
        "10 / 20 / 30 ms",
    ):
        assert text in captured.out
    assert "level2" not in captured.out
    assert "Training 60 s" in captured.err
    written = report().as_json()
    assert written["backbone_mar@10"] == 0.4
    assert written["share_of_exact_mar@10"] == 1.0
    assert FIGURES.items() <= written.items()


def test_examples_are_of_different_categories_first(examples: list[Example]) -> None:
    assert len(examples) == EXAMPLES
    assert len({example.category for example in examples[:5]}) == 5
    for example in examples:
        assert len(example.hits) == HITS
        for hit in example.hits:
            assert hit.right == (hit.photo == example.photo)
    assert any(hit.right for example in examples for hit in example.hits)


def test_examples_are_the_same_for_the_same_seed(catalog: Catalog, examples: list[Example]) -> None:
    assert draw_examples(rankings(catalog), catalog, seed=1) == examples
    assert draw_examples(rankings(catalog), catalog, seed=2) != examples


def test_the_sheet_frames_right_and_wrong_answers(examples: list[Example]) -> None:
    sheet = draw_sheet(examples, "Heading", "Summary")
    colours = {colour: count for count, colour in sheet.getcolors(maxcolors=1 << 24) or []}
    right = sum(hit.right for example in examples for hit in example.hits)
    wrong = sum(not hit.right for example in examples for hit in example.hits)
    per_right = colours[ImageColor.getrgb(RIGHT)] / right
    per_wrong = colours[ImageColor.getrgb(WRONG)] / wrong
    assert per_right == pytest.approx(per_wrong, rel=0.1)


def test_the_page_is_self_contained_and_escapes_titles(examples: list[Example]) -> None:
    page = render_page("A & B", "summary", report().rows(), examples)
    assert set(re.findall(r'(?:src|href)="([^"]{0,5})', page)) == {"data:"}
    assert "<Lamp" not in page
    assert "&lt;Lamp &amp; " in page
    assert page.count('class="right"') == sum(hit.right for example in examples for hit in example.hits)
    assert page.count("✗</span>") == sum(not hit.right for example in examples for hit in example.hits)


def test_the_folder_is_cleared_but_keeps_the_simulation(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    parameters = {"products": 3}
    with DemoFolder(out) as folder:
        assert not folder.has_simulated(parameters)
        folder.simulated.mkdir()
        folder.remember_simulated(parameters)
        (folder.data / "rows").touch()
        folder.report.touch()
    with DemoFolder(out) as folder:
        assert folder.has_simulated(parameters)
        assert not folder.has_simulated({"products": 4})
        assert folder.simulated.is_dir()
        assert list(folder.data.iterdir()) == []
        assert not folder.report.exists()
        with pytest.raises(FailedPreconditionError, match="another demo"):
            DemoFolder(out)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "data"
    mine.mkdir()
    with pytest.raises(InvalidInputError, match="other files"):
        DemoFolder(tmp_path)
    assert mine.is_dir()
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(InvalidInputError, match="not a folder"):
        DemoFolder(file)
