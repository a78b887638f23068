"""The pages that are written from the code are what the code says, and leave nothing unexplained."""

from __future__ import annotations

import pytest

from scripts import generated_docs


@pytest.mark.parametrize("name", generated_docs.PAGES)
def test_page_is_current(name: str) -> None:
    page = generated_docs.PAGES[name]()
    assert (generated_docs.DOCS / name).read_text() == page, "run `make docs-generated` and commit the result"


@pytest.mark.parametrize("name", generated_docs.PAGES)
def test_everything_is_explained(name: str) -> None:
    rows = [line for line in generated_docs.PAGES[name]().splitlines() if line.startswith("| `")]
    assert len(rows) > 20
    assert not [row for row in rows if not row.split(" | ")[-1].strip("| ")]
