"""The site of the documentation builds strictly and fetches nothing; the report names its commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from scripts import docs_plots

ROOT = Path(__file__).resolve().parents[2]
FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}
"""What a browser fetches by itself, by tag."""
COMMAND = re.compile(r"`(?:make|python -m|lookalike) [^`]+`")


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-f", str(root / "mkdocs.yml"), "-d", str(site)],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    outcome = build(ROOT, folder)
    assert outcome.returncode == 0, outcome.stderr
    return folder


class Fetches(HTMLParser):
    """Collects the addresses that a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name == FETCHED.get(tag)]


def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        fetches = Fetches()
        fetches.feed(page.read_text())
        assert fetches.addresses
        assert not [one for one in fetches.addresses if re.match(r"(?:[a-z]+:)?//|https?:", one)], page


def test_styles_fetch_nothing_from_elsewhere(site: Path) -> None:
    styles = list(site.rglob("*.css"))
    assert styles
    for style in styles:
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text()), style


def test_readme_and_site_have_the_pages_outside_of_docs(site: Path) -> None:
    for name in ("index", "contributing", "changelog", "api", "report", "adr/index"):
        assert (site / f"{name}.html").exists()


@pytest.mark.parametrize(
    ("page", "text", "said"),
    [
        ("architecture.md", "[nowhere](nowhere.md)", "nowhere.md"),
        ("architecture.md", "[no heading](training.md#no-such-heading)", "no-such-heading"),
        ("architecture.md", "[no file](../no-such-file.toml)", "no-such-file.toml"),
        ("lost.md", "# Not in the menu", "lost.md"),
    ],
)
def test_what_is_broken_fails_the_build(tmp_path: Path, page: str, text: str, said: str) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    for name in ("docs", "scripts"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", root)
    for path in ROOT.iterdir():
        if not (root / path.name).exists():
            (root / path.name).symlink_to(path)
    with (root / "docs" / page).open("a") as file:
        file.write(f"\n\n{text}\n")
    outcome = build(root, tmp_path / "site")
    assert outcome.returncode != 0
    assert said in outcome.stderr


def test_every_table_of_the_report_names_its_command() -> None:
    sections = re.split(r"^#{2,4} ", (ROOT / "docs" / "report.md").read_text(), flags=re.MULTILINE)
    tables = [one for one in sections if re.search(r"^\|.*\d", one, flags=re.MULTILINE)]
    assert len(tables) > 4
    for section in tables:
        assert COMMAND.search(section), section.splitlines()[0]


@pytest.mark.parametrize("name", docs_plots.PLOTS)
def test_plots_show_what_the_tables_say(name: str) -> None:
    drawn = ElementTree.parse(docs_plots.IMAGES / f"{name}.svg")
    described = drawn.find(".//{http://purl.org/dc/elements/1.1/}description")
    assert described is not None
    assert json.loads(described.text or "") == docs_plots.PLOTS[name][0](), "run python -m scripts.docs_plots"
