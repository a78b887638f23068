"""The contact sheet as one picture: each row a query and its answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from lookalike.cli.demo.examples import HITS, Example, ExampleHit

RIGHT = "#1a9850"
WRONG = "#d73027"
_INK = "#1f2933"
_FAINT = "#7b8794"
_PAPER = "#ffffff"
_TILE = 148
_BORDER = 5
_GAP = 14
_MARGIN = 28
_HEADER = 92
_CAPTION = 40
_ROW = _TILE + _CAPTION + _GAP
_QUERY_GAP = 44


def thumbnail(photo: Path, size: int) -> Image.Image:
    """Returns a photo as a square RGB picture, upright, whole and centred on white."""
    with Image.open(photo) as opened:
        opened.draft("RGB", (size * 2, size * 2))
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    return ImageOps.pad(upright, (size, size), method=Image.Resampling.LANCZOS, color=_PAPER)


def draw_sheet(examples: Sequence[Example], heading: str, summary: str) -> Image.Image:
    """Draws the contact sheet.

    Args:
        examples: The rows.
        heading: The title.
        summary: A line below it.
    """
    width = 2 * _MARGIN + _TILE + _QUERY_GAP + HITS * (_TILE + _GAP) - _GAP
    height = _MARGIN + _HEADER + len(examples) * _ROW + _MARGIN - _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN - 6), heading, fill=_INK, font=ImageFont.load_default(26))
    draw.text((_MARGIN, _MARGIN + 30), summary, fill=_FAINT, font=ImageFont.load_default(15))
    label = ImageFont.load_default(14)
    first_hit = _MARGIN + _TILE + _QUERY_GAP
    draw.text((_MARGIN, _MARGIN + 62), "query", fill=_INK, font=label)
    draw.text((first_hit, _MARGIN + 62), "best answers, nearest first", fill=_INK, font=label)
    for row, example in enumerate(examples):
        top = _MARGIN + _HEADER + row * _ROW
        sheet.paste(thumbnail(example.photo, _TILE), (_MARGIN, top))
        draw.rectangle((_MARGIN, top, _MARGIN + _TILE - 1, top + _TILE - 1), outline="#cbd2d9")
        _caption(draw, (_MARGIN, top), example.title, f"{example.truth_count} to be found")
        for column, hit in enumerate(example.hits):
            _draw_hit(sheet, draw, hit, first_hit + column * (_TILE + _GAP), top)
    return sheet


def _draw_hit(sheet: Image.Image, draw: ImageDraw.ImageDraw, hit: ExampleHit, left: int, top: int) -> None:
    colour = RIGHT if hit.right else WRONG
    sheet.paste(thumbnail(hit.photo, _TILE), (left, top))
    draw.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), outline=colour, width=_BORDER)
    _draw_mark(draw, hit.right, left + _TILE - 17, top + 17)
    _caption(draw, (left, top), hit.title, f"{hit.score:.3f}")


def _draw_mark(draw: ImageDraw.ImageDraw, right: bool, x: int, y: int) -> None:
    """Draws a tick or a cross on a disc, so that colour is not the only sign."""
    colour = RIGHT if right else WRONG
    draw.ellipse((x - 13, y - 13, x + 13, y + 13), fill=colour, outline=_PAPER, width=2)
    if right:
        draw.line([(x - 6, y + 1), (x - 2, y + 5), (x + 6, y - 5)], fill=_PAPER, width=3, joint="curve")
    else:
        draw.line([(x - 5, y - 5), (x + 5, y + 5)], fill=_PAPER, width=3)
        draw.line([(x - 5, y + 5), (x + 5, y - 5)], fill=_PAPER, width=3)


def _caption(draw: ImageDraw.ImageDraw, corner: tuple[int, int], title: str, detail: str) -> None:
    left, top = corner
    font = ImageFont.load_default(13)
    draw.text((left, top + _TILE + 4), _shortened(draw, title, font), fill=_INK, font=font)
    draw.text((left, top + _TILE + 20), detail, fill=_FAINT, font=font)


def _shortened(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    if draw.textlength(text, font=font) <= _TILE:
        return text
    while text and draw.textlength(text + "...", font=font) > _TILE:
        text = text[:-1]
    return text.rstrip() + "..."
