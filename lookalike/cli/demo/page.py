"""The report as one self-contained HTML file: figures, and photos of queries with their answers."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from lookalike.cli.demo.examples import HITS, Example, ExampleHit
from lookalike.cli.demo.report import Row
from lookalike.cli.demo.sheet import RIGHT, WRONG, thumbnail

_PIXELS = 224
_JPEG_QUALITY = 82

_STYLE = f"""
:root {{ color-scheme: light dark; --right: {RIGHT}; --wrong: {WRONG};
  --ink: #1f2933; --faint: #616e7c; --line: #e4e7eb; --paper: #fff; --card: #f5f7fa; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #f5f7fa; --faint: #9aa5b1; --line: #323f4b; --paper: #14191f; --card: #1f2933; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 1240px; padding: 2rem 1.25rem 4rem;
  background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.7rem; margin: 0 0 .25rem; }}
h2 {{ font-size: 1.15rem; margin: 2.5rem 0 .75rem; }}
p {{ margin: 0 0 1rem; color: var(--faint); }}
.figures {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .6rem; }}
.figure {{ background: var(--card); border-radius: 10px; padding: .7rem 1rem; }}
.figure b {{ display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums; }}
.figure span {{ color: var(--faint); font-size: .85rem; }}
.row {{ display: flex; gap: 1.5rem; padding: 1.1rem 0; border-top: 1px solid var(--line); }}
.hits {{ display: grid; grid-template-columns: repeat({HITS}, minmax(0, 1fr)); gap: .75rem; flex: 1; }}
figure {{ margin: 0; position: relative; min-width: 0; }}
.query {{ flex: 0 0 150px; }}
figure img {{ display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  background: #fff; border-radius: 8px; border: 1px solid var(--line); }}
.right img {{ border: 4px solid var(--right); }}
.wrong img {{ border: 4px solid var(--wrong); }}
.mark {{ position: absolute; top: .55rem; right: .55rem; width: 1.6rem; height: 1.6rem;
  border-radius: 50%; color: #fff; font: 700 .95rem/1.6rem system-ui, sans-serif; text-align: center; }}
.right .mark {{ background: var(--right); }}
.wrong .mark {{ background: var(--wrong); }}
figcaption {{ font-size: .8rem; line-height: 1.3; margin-top: .35rem; overflow-wrap: anywhere; }}
figcaption small {{ display: block; color: var(--faint); font-variant-numeric: tabular-nums; }}
@media (max-width: 860px) {{
  .hits {{ grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); }}
  .row {{ flex-direction: column; }}
  .query {{ flex-basis: auto; max-width: 150px; }} }}
"""


def render_page(heading: str, summary: str, rows: Sequence[Row], examples: Sequence[Example]) -> str:
    """Returns the page.

    Args:
        heading: The title.
        summary: A sentence below it.
        rows: The figures.
        examples: The queries to show.
    """
    figures = "".join(
        f'<div class="figure"><span>{escape(row.name)}</span><b>{escape(row.value)}</b>'
        f"<span>{escape(row.remark)}</span></div>"
        for row in rows
    )
    shown = "".join(map(_example, examples))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(heading)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{escape(heading)}</h1><p>{escape(summary)}</p>"
        f'<div class="figures">{figures}</div><h2>Queries and their best answers</h2>'
        "<p>Drawn at random. Left the photo searched for; then the nearest photos in the index, best first."
        " ✓ shows the same product, ✗ another one.</p>"
        f"{shown}</body></html>\n"
    )


def _example(example: Example) -> str:
    category = " / ".join(example.category)
    hits = "".join(map(_hit, example.hits))
    return (
        f'<section class="row"><figure class="query">{_img(example.photo, "query")}'
        f"<figcaption>{escape(example.title)}<small>{escape(category)}</small>"
        f"<small>{example.truth_count} to be found</small></figcaption></figure>"
        f'<div class="hits">{hits}</div></section>'
    )


def _hit(hit: ExampleHit) -> str:
    kind, mark, text = ("right", "✓", "same product") if hit.right else ("wrong", "✗", "another product")
    return (
        f'<figure class="{kind}">{_img(hit.photo, hit.title)}<span class="mark" title="{text}">{mark}</span>'
        f"<figcaption>{escape(hit.title)}<small>{hit.score:.3f}</small></figcaption></figure>"
    )


def _img(photo: Path, text: str) -> str:
    buffer = io.BytesIO()
    thumbnail(photo, _PIXELS).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{escape(text)}" src="data:image/jpeg;base64,{data}">'
