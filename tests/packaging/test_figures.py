"""Figures that are quoted in several places are the same there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _rows(page: str, heading: str) -> list[list[str]]:
    """The cells of those lines of a section's tables that have a digit: a head with R@1, too."""
    text = (ROOT / page).read_text()
    (section,) = re.findall(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if re.match(r"\|.*\d", line)]
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines]


def test_what_to_expect_is_what_the_report_found() -> None:
    (_, *expected) = _rows("README.md", "What to expect")
    (_, *found) = _rows("docs/report.md", "5.1 The whole system")
    assert len(expected) == 3
    assert [row[1:] for row in expected] == [row[1:] for row in found]


def test_the_fine_tuned_models_of_the_readme_are_those_of_the_benchmark() -> None:
    quoted = re.search(r"groceries have an R@1 of (\S+) and (\S+)", (ROOT / "README.md").read_text())
    assert quoted
    rows = _rows("docs/benchmarks/models.md", "Results to quote")
    studio, photos = next((row[2], row[4]) for row in rows if row[1] == "default, `--fine-tune`")
    assert [f"{float(one.strip('*')):.2f}" for one in (photos, studio)] == list(quoted.groups())


def test_preparing_a_photo_takes_in_the_report_what_it_took_in_the_benchmark() -> None:
    text = " ".join((ROOT / "docs" / "report.md").read_text().split())
    quoted = re.search(r"12 megapixels takes (\S+) ms .* and one of 512 × 384 pixels (\S+) ms", text)
    assert quoted
    rows = _rows("docs/benchmarks/embedder.md", "Results of the embedder")
    took = {row[0]: float(row[-1].split(" ")[0]) for row in rows if "×" in row[0]}
    assert [float(one) for one in quoted.groups()] == [took["4000 × 3000"], round(took["512 × 384"], 1)]
