"""The report as one self-contained HTML file: figures, and photos of queries with their answers."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from lookalike.cli.demo.examples import HITS, Example
from lookalike.cli.demo.report import Row
from lookalike.cli.demo.sheet import RIGHT, WRONG, thumbnail

_PIXELS = 224
_JPEG_QUALITY = 82


def render_page(heading: str, summary: str, rows: Sequence[Row], examples: Sequence[Example]) -> str:
    """Returns the page.

    Args:
        heading: The title.
        summary: A sentence below it.
        rows: The figures.
        examples: The queries to show.
    """
    templates = Environment(
        loader=PackageLoader("lookalike.cli.demo"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["picture"] = _picture
    return templates.get_template("report.html").render(
        heading=heading,
        summary=summary,
        rows=rows,
        examples=examples,
        columns=HITS,
        right=RIGHT,
        wrong=WRONG,
    )


def _picture(photo: Path) -> str:
    """Returns a photo, scaled down, as an address that holds it."""
    buffer = io.BytesIO()
    thumbnail(photo, _PIXELS).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
