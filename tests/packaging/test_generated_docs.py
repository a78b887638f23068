"""The pages that are written from the code are what the code says, and leave nothing unexplained."""

from __future__ import annotations

import re

import pytest

from scripts import generated_docs


@pytest.mark.parametrize("name", generated_docs.PAGES)
def test_page_is_current(name: str) -> None:
    page = generated_docs.PAGES[name]()
    assert (generated_docs.DOCS / name).read_text() == page, "run `make docs-generated` and commit the result"


@pytest.mark.parametrize("name", ["settings.md", "metrics.md"])
def test_everything_is_explained(name: str) -> None:
    rows = [line for line in generated_docs.PAGES[name]().splitlines() if line.startswith("| `")]
    assert len(rows) > 20
    assert not [row for row in rows if not row.split(" | ")[-1].strip("| ")]


def test_every_call_and_message_is_in_the_reference() -> None:
    page = generated_docs.PAGES["api.md"]()
    for proto in (generated_docs.DOCS.parent / "protos").rglob("*.proto"):
        text = proto.read_text()
        for kind, name in re.findall(r"^(service|message|enum) (\w+)", text, flags=re.MULTILINE):
            assert f"\n### {name}\n" in page, f"{kind} {name}"
        for name in re.findall(r"^  rpc (\w+)", text, flags=re.MULTILINE):
            assert re.search(rf"\n#### \w+\.{name}\n\n.+\n\n\S", page), f"{name} has no comment"
