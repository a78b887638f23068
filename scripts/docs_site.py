"""A hook of MkDocs (``mkdocs.yml``): pages and links that lead out of ``docs/``.

The repository's own pages become pages of the site. A link to any other file of the repository works where
the source is read; on the site its path takes the link's place.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Pages by their path in the repository, with their name on the site."""
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s:#]+)(#[^)\s]*)?\)")
# Below "mkdocs", a warning fails a strict build.
_log = logging.getLogger("mkdocs.plugins.docs_site")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that lie outside of the folder of documentation."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links that leave the folder of documentation into links that the site has, or into paths."""
    sources = {name: source for source, name in PAGES.items()}
    name = page.file.src_uri
    source = sources.get(name, f"docs/{name}")

    def rewritten(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if (ROOT / path / "README.md").exists():
            path += "/README.md"
        on_site = path.removeprefix("docs/") if path.startswith("docs/") else PAGES.get(path)
        if on_site is not None and files.get_file_from_path(on_site) is not None:
            return f"[{text}]({posixpath.relpath(on_site, posixpath.dirname(name) or '.')}{anchor})"
        if path.startswith("docs/"):
            return match[0]  # MkDocs says that it is broken.
        if not (ROOT / path).exists():
            _log.warning("%s links to %s, which is not in the repository", source, path)
        return f"`{path}`" if text.strip("`/") == path else f"{text} (`{path}`)"

    return _LINK.sub(rewritten, markdown)
