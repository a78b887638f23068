"""What covers a product: colours, materials, patterns and prints."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from lookalike.synth.geometry import Array, Part, as_bytes
from lookalike.synth.glyphs import draw_glyph
from lookalike.synth.render import Surface

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (236, 234, 228),
    "cream": (228, 214, 184),
    "black": (38, 38, 42),
    "grey": (138, 140, 144),
    "charcoal": (74, 76, 82),
    "navy": (36, 50, 92),
    "blue": (48, 96, 176),
    "sky": (132, 180, 216),
    "teal": (28, 122, 124),
    "mint": (150, 206, 180),
    "green": (52, 124, 68),
    "olive": (116, 116, 60),
    "yellow": (232, 192, 60),
    "mustard": (196, 146, 42),
    "orange": (222, 118, 44),
    "coral": (226, 112, 96),
    "red": (188, 44, 46),
    "burgundy": (112, 30, 46),
    "pink": (226, 150, 172),
    "purple": (110, 70, 140),
    "lilac": (180, 160, 206),
    "brown": (112, 74, 48),
    "tan": (190, 146, 100),
    "sand": (208, 190, 156),
    "steel": (172, 176, 180),
    "gold": (206, 168, 88),
    "copper": (190, 118, 82),
    "oak": (186, 142, 92),
    "walnut": (104, 70, 46),
    "skin": (214, 168, 138),
}

#: Gloss, metal, and strength of the grain of each material.
MATERIALS: dict[str, tuple[float, float, float]] = {
    "ceramic": (0.75, 0.0, 1.0),
    "glass": (1.0, 0.25, 0.0),
    "steel": (0.6, 0.75, 2.0),
    "enamel": (0.8, 0.05, 0.5),
    "plastic": (0.45, 0.0, 0.5),
    "rubber": (0.15, 0.0, 1.5),
    "leather": (0.35, 0.0, 4.0),
    "suede": (0.03, 0.0, 6.0),
    "cotton": (0.0, 0.0, 5.0),
    "canvas": (0.02, 0.0, 8.0),
    "wool": (0.0, 0.0, 10.0),
    "linen": (0.0, 0.0, 8.0),
    "nylon": (0.2, 0.0, 3.0),
    "wooden": (0.2, 0.0, 3.0),
    "paper": (0.08, 0.0, 1.0),
    "plush": (0.0, 0.0, 13.0),
}

_PIXELS_PER_UNIT = 130
_LONGEST = 640


@dataclass(frozen=True)
class Paint:
    """One covering. Sizes are in units of the product's own space, so a pattern keeps its scale."""

    colour: str
    material: str
    pattern: str = "plain"
    second: str = "white"
    third: str = "black"
    pitch: float = 0.3
    glyph: str = ""
    ink: str = "white"
    glyph_size: float = 0.35
    words: str = ""
    seed: int = 0


def cover(part: Part, paint: Paint) -> Surface:
    """Draws the texture of a part."""
    across, down = part.size
    scale = min(_PIXELS_PER_UNIT, _LONGEST / max(across, down, 1e-6))
    width, height = max(8, round(across * scale)), max(8, round(down * scale))
    base = _rgb(paint.colour)
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = base
    random = np.random.default_rng(paint.seed)
    PATTERNS[paint.pattern](canvas, paint, max(paint.pitch * scale, 4.0), random)
    if part.printed and (paint.glyph or paint.words):
        _print(canvas, paint, scale)
    gloss, metal, grain = MATERIALS[paint.material]
    if grain:
        canvas = _grain(canvas, grain, paint.material, random)
    return Surface(canvas, gloss, metal)


def _rgb(name: str) -> Array:
    return np.array(COLOURS[name], np.uint8)


def _grain(canvas: Array, strength: float, material: str, random: np.random.Generator) -> Array:
    height, width = canvas.shape[:2]
    noise: Array = random.standard_normal((height, width), dtype=np.float32)
    if material == "wooden":
        noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=18, sigmaY=1.2) * 22
    elif material in ("plush", "leather", "suede"):
        noise = cv2.GaussianBlur(noise, (0, 0), 1.2) * 3
    return as_bytes(canvas + (noise * strength)[..., None])


def _print(canvas: Array, paint: Paint, scale: float) -> None:
    height, width = canvas.shape[:2]
    centre = (width / 2, height / 2)
    ink, under = _rgb(paint.ink), _rgb(paint.colour)
    reach = min(paint.glyph_size * scale, height * 0.42, width * 0.45)
    if paint.glyph:
        lift = reach * 0.35 if paint.words else 0
        draw_glyph(
            canvas,
            paint.glyph,
            (centre[0], centre[1] - lift),
            reach * (0.8 if paint.words else 1),
            ink,
            under,
        )
    if paint.words:
        low = centre[1] + (reach * 0.95 if paint.glyph else 0)
        _write(canvas, paint.words, (centre[0], low), 2.2 * reach, ink)


def _write(canvas: Array, words: str, centre: tuple[float, float], width: float, ink: Array) -> None:
    thickness = max(1, round(width / 45))
    (wide, tall), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_DUPLEX, 1.0, thickness)
    size = min(width / wide, width * 0.4 / tall)
    at = (round(centre[0] - wide * size / 2), round(centre[1] + tall * size / 2))
    cv2.putText(
        canvas, words, at, cv2.FONT_HERSHEY_DUPLEX, size, [int(v) for v in ink], thickness, cv2.LINE_AA
    )


Pattern = Callable[[Array, Paint, float, np.random.Generator], None]


def _coordinates(canvas: Array) -> tuple[Array, Array]:
    """Pixel x and y from the canvas's centre, so that patterns are centred on the front."""
    height, width = canvas.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return x - width / 2, y - height / 2


def _mix(canvas: Array, colour: str, amount: Array) -> None:
    """Blends ``colour`` in where ``amount`` (h, w) goes from 0 to 1."""
    share = np.clip(amount, 0, 1)[..., None]
    canvas[:] = (canvas * (1 - share) + _rgb(colour) * share).astype(np.uint8)


def _bands(phase: Array, pitch: float, share: float = 0.5) -> Array:
    """Soft-edged bands along ``phase``: 1 inside a band, 0 between, one band every ``pitch`` pixels."""
    off = np.abs((phase / pitch + 0.5) % 1.0 - 0.5)
    return (share / 2 - off) * pitch + 0.5


def _plain(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    return


def _rings(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    _mix(canvas, paint.second, _bands(_coordinates(canvas)[1], pitch))


def _columns(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    _mix(canvas, paint.second, _bands(_coordinates(canvas)[0], pitch, 0.4))


def _diagonal(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    x, y = _coordinates(canvas)
    _mix(canvas, paint.second, _bands((x + y) * 0.71, pitch))


def _pinstripe(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    y = _coordinates(canvas)[1]
    _mix(canvas, paint.second, _bands(y, pitch * 1.6, 0.35))
    _mix(canvas, paint.third, _bands(y + pitch * 0.8, pitch * 1.6, 0.12))


def _checks(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    x, y = _coordinates(canvas)
    _mix(canvas, paint.second, np.clip(_bands(x, pitch), 0, 1) * 0.55)
    _mix(canvas, paint.second, np.clip(_bands(y, pitch), 0, 1) * 0.55)


def _tartan(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    for axis in _coordinates(canvas):
        _mix(canvas, paint.second, np.clip(_bands(axis, pitch * 2, 0.4), 0, 1) * 0.6)
        _mix(canvas, paint.third, np.clip(_bands(axis + pitch * 0.7, pitch * 2, 0.08), 0, 1) * 0.9)


def _chevron(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    x, y = _coordinates(canvas)
    zigzag = np.abs((x / pitch / 1.6) % 1.0 - 0.5) * pitch * 1.6
    _mix(canvas, paint.second, _bands(y + zigzag, pitch))


def _waves(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    x, y = _coordinates(canvas)
    _mix(canvas, paint.second, _bands(y + 0.4 * pitch * np.sin(x / pitch * 3.0), pitch, 0.4))


def _argyle(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    x, y = _coordinates(canvas)
    p, q = x + 0.6 * y, x - 0.6 * y
    odd = np.clip(_bands(p, pitch * 2), 0, 1) * np.clip(_bands(q, pitch * 2), 0, 1)
    _mix(canvas, paint.second, odd)
    _mix(
        canvas,
        paint.third,
        np.maximum(_bands(p + pitch, pitch * 2, 0.06), _bands(q + pitch, pitch * 2, 0.06)),
    )


def _block(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    height = canvas.shape[0]
    canvas[round(height * (0.45 + 0.3 * min(paint.pitch, 1.0))) :] = _rgb(paint.second)


def _band(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    y = _coordinates(canvas)[1]
    _mix(canvas, paint.second, pitch * 0.8 - np.abs(y))
    _mix(canvas, paint.third, pitch * 0.15 - np.abs(np.abs(y) - pitch * 1.05))


def _lattice(canvas: Array, pitch: float) -> list[tuple[float, float]]:
    """Places of a brick lattice about the canvas's centre, in pixels."""
    height, width = canvas.shape[:2]
    down, across = math.ceil(height / pitch / 2) + 1, math.ceil(width / pitch / 2) + 1
    return [
        (width / 2 + (column + row % 2 * 0.5) * pitch, height / 2 + row * pitch * 0.86)
        for row in range(-down, down + 1)
        for column in range(-across, across + 1)
    ]


def _dots(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    ink = [int(v) for v in _rgb(paint.second)]
    for x, y in _lattice(canvas, pitch):
        cv2.circle(canvas, (round(x * 16), round(y * 16)), round(pitch * 0.26 * 16), ink, -1, cv2.LINE_AA, 4)


def _scatter(glyph: str, size: float, spread: float, turning: bool) -> Pattern:
    def pattern(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
        inks = [_rgb(paint.second), _rgb(paint.third)]
        for x, y in _lattice(canvas, pitch * 1.3):
            jitter = random.uniform(-spread, spread, 2) * pitch
            turn = float(random.uniform(-3, 3)) if turning else 0.0
            ink = inks[int(random.integers(2))] if turning else inks[0]
            draw_glyph(
                canvas, glyph, (x + jitter[0], y + jitter[1]), pitch * size, ink, _rgb(paint.colour), turn
            )

    return pattern


def _speckle(canvas: Array, paint: Paint, pitch: float, random: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    for _ in range(int(1.2 * height * width / pitch**2) + 6):
        at = (int(random.integers(width)), int(random.integers(height)))
        axes = tuple(int(v) for v in random.uniform(0.08, 0.26, 2) * pitch + 1)
        ink = _rgb(paint.second if random.random() < 0.6 else paint.third)
        cv2.ellipse(
            canvas, at, axes, float(random.uniform(0, 180)), 0, 360, [int(v) for v in ink], -1, cv2.LINE_AA
        )


PATTERNS: dict[str, Pattern] = {
    "plain": _plain,
    "striped": _rings,
    "pinstriped": _pinstripe,
    "vertical-striped": _columns,
    "diagonal-striped": _diagonal,
    "checked": _checks,
    "tartan": _tartan,
    "chevron": _chevron,
    "wavy": _waves,
    "argyle": _argyle,
    "two-tone": _block,
    "banded": _band,
    "dotted": _dots,
    "floral": _scatter("flower", 0.42, 0.2, True),
    "leafy": _scatter("leaf", 0.45, 0.2, True),
    "starry": _scatter("star", 0.32, 0.0, False),
    "hearts": _scatter("heart", 0.3, 0.0, False),
    "diamonds": _scatter("diamond", 0.42, 0.0, False),
    "speckled": _speckle,
}
