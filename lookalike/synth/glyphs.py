"""Prints: simple pictures drawn from polygons and circles, described as data.

A glyph is a list of strokes in a square from -1 to 1, y up. Each stroke is ``(kind, ink, ...)``; ink 1
draws in the print's colour and ink 0 in the colour underneath, which cuts holes.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from lookalike.synth.geometry import Array, smooth

Stroke = tuple[Any, ...]


def _star(points: int, inner: float) -> list[tuple[float, float]]:
    corners = []
    for n in range(2 * points):
        reach = 1.0 if n % 2 == 0 else inner
        angle = math.pi * n / points
        corners.append((reach * math.sin(angle), reach * math.cos(angle)))
    return corners


def _ring_of(count: int, reach: float, radius: float, start: float = 0.0) -> list[Stroke]:
    turns = [start + 2 * math.pi * n / count for n in range(count)]
    return [("disc", 1, reach * math.sin(a), reach * math.cos(a), radius) for a in turns]


GLYPHS: dict[str, list[Stroke]] = {
    "star": [("poly", 1, _star(5, 0.42))],
    "sun": [("poly", 1, _star(12, 0.62)), ("disc", 0, 0, 0, 0.5), ("disc", 1, 0, 0, 0.4)],
    "heart": [("curve", 1, [(0, 0.45), (0.5, 0.85), (0.95, 0.4), (0.55, -0.3), (0, -0.9), (0, -0.9),
        (-0.55, -0.3), (-0.95, 0.4), (-0.5, 0.85)])],
    "moon": [("disc", 1, 0, 0, 0.95), ("disc", 0, 0.42, 0.2, 0.78)],
    "bolt": [("poly", 1, [(0.25, 1), (-0.55, -0.1), (-0.05, -0.1), (-0.3, -1), (0.6, 0.25), (0.08, 0.25)])],
    "flower": [*_ring_of(6, 0.6, 0.36), ("disc", 0, 0, 0, 0.34), ("disc", 1, 0, 0, 0.22)],
    "daisy": [*_ring_of(10, 0.72, 0.22), ("disc", 1, 0, 0, 0.4)],
    "cat": [
        ("curve", 1, [(-0.8, 0.1), (-0.5, -0.65), (0, -0.85), (0.5, -0.65), (0.8, 0.1), (0.4, 0.5),
            (-0.4, 0.5)]),
        ("poly", 1, [(-0.8, 0.0), (-0.78, 0.95), (-0.2, 0.45)]),
        ("poly", 1, [(0.8, 0.0), (0.78, 0.95), (0.2, 0.45)]),
        ("disc", 0, -0.32, 0.0, 0.13), ("disc", 0, 0.32, 0.0, 0.13), ("poly", 0, [(-0.12, -0.3), (0.12,
            -0.3), (0, -0.45)]),
    ],
    "fish": [
        ("curve", 1, [(-0.95, 0), (-0.4, 0.5), (0.3, 0.3), (0.55, 0), (0.3, -0.3), (-0.4, -0.5)]),
        ("poly", 1, [(0.4, 0), (1, 0.5), (0.85, 0), (1, -0.5)]),
        ("disc", 0, -0.55, 0.1, 0.1),
    ],
    "bird": [
        ("curve", 1, [(-0.8, 0.35), (-0.35, 0.55), (0.1, 0.25), (0.95, 0.55), (0.5, -0.2), (0, -0.5),
            (-0.5, -0.25), (-0.6, 0.15)]),
        ("poly", 1, [(-0.7, 0.5), (-1, 0.28), (-0.6, 0.25)]),
        ("line", 1, [(-0.1, -0.4), (-0.1, -0.95)], 0.1), ("line", 1, [(0.15, -0.4), (0.15, -0.95)], 0.1),
        ("disc", 0, -0.5, 0.33, 0.08),
    ],
    "leaf": [
        ("curve", 1, [(0, 1), (0.6, 0.35), (0.45, -0.4), (0, -0.75), (-0.45, -0.4), (-0.6, 0.35)]),
        ("line", 0, [(0, 0.7), (0, -0.7)], 0.08), ("line", 1, [(0, -0.6), (0, -1)], 0.12),
    ],
    "tree": [
        ("poly", 1, [(0, 1), (0.5, 0.3), (0.25, 0.3), (0.7, -0.3), (0.15, -0.3), (0.15, -0.95), (-0.15,
            -0.95), (-0.15, -0.3), (-0.7, -0.3), (-0.25, 0.3), (-0.5, 0.3)]),
    ],
    "crown": [("poly", 1, [(-0.9, -0.6), (-0.95, 0.6), (-0.45, 0.05), (0, 0.8), (0.45, 0.05), (0.95,
        0.6), (0.9, -0.6)]), ("line", 0, [(-0.85, -0.35), (0.85, -0.35)], 0.1)],
    "anchor": [
        ("line", 1, [(0, 0.6), (0, -0.8)], 0.2), ("line", 1, [(-0.45, 0.3), (0.45, 0.3)], 0.18),
        ("disc", 1, 0, 0.75, 0.25), ("disc", 0, 0, 0.75, 0.12),
        ("line", 1, [(-0.85, -0.2), (-0.6, -0.7), (0, -0.92), (0.6, -0.7), (0.85, -0.2)], 0.2),
    ],
    "cloud": [("disc", 1, -0.5, -0.15, 0.42), ("disc", 1, 0.05, 0.15, 0.55), ("disc", 1, 0.58, -0.15,
        0.4), ("poly", 1, [(-0.5, -0.57), (0.58, -0.55), (0.5, 0), (-0.5, 0)])],
    "peaks": [("poly", 1, [(-1, -0.7), (-0.3, 0.75), (0.1, 0), (0.35, 0.4), (1, -0.7)]), ("poly", 0,
        [(-0.3, 0.6), (-0.5, 0.2), (-0.3, 0.3), (-0.1, 0.2)])],
    "paw": [("curve", 1, [(0, 0.05), (0.55, -0.45), (0.35, -0.85), (-0.35, -0.85), (-0.55, -0.45)]),
        ("disc", 1, -0.7, 0.05, 0.22), ("disc", 1, -0.27, 0.5, 0.24), ("disc", 1, 0.27, 0.5, 0.24),
        ("disc", 1, 0.7, 0.05, 0.22)],
    "smile": [("disc", 1, 0, 0, 0.95), ("disc", 0, -0.33, 0.25, 0.14), ("disc", 0, 0.33, 0.25, 0.14),
        ("line", 0, [(-0.5, -0.25), (-0.25, -0.5), (0.25, -0.5), (0.5, -0.25)], 0.14)],
    "rocket": [
        ("curve", 1, [(0, 1), (0.35, 0.45), (0.32, -0.5), (-0.32, -0.5), (-0.35, 0.45)]),
        ("poly", 1, [(-0.3, 0), (-0.7, -0.7), (-0.25, -0.5)]), ("poly", 1, [(0.3, 0), (0.7, -0.7), (0.25,
            -0.5)]),
        ("poly", 1, [(-0.18, -0.6), (0, -1), (0.18, -0.6)]), ("disc", 0, 0, 0.3, 0.17),
    ],
    "mushroom": [("curve", 1, [(-0.95, 0), (-0.5, 0.75), (0.5, 0.75), (0.95, 0), (0, -0.12)]), ("poly",
        1, [(-0.28, -0.05), (0.28, -0.05), (0.36, -0.9), (-0.36, -0.9)]), ("disc", 0, -0.4, 0.35, 0.16),
        ("disc", 0, 0.15, 0.5, 0.14), ("disc", 0, 0.5, 0.2, 0.12)],
    "diamond": [("poly", 1, [(0, 1), (0.75, 0), (0, -1), (-0.75, 0)]), ("poly", 0, [(0, 0.6), (0.45, 0),
        (0, -0.6), (-0.45, 0)]), ("poly", 1, [(0, 0.3), (0.22, 0), (0, -0.3), (-0.22, 0)])],
    "target": [("disc", 1, 0, 0, 0.95), ("disc", 0, 0, 0, 0.66), ("disc", 1, 0, 0, 0.36)],
    "arrow": [("poly", 1, [(0, 1), (0.75, 0.1), (0.3, 0.1), (0.3, -0.9), (-0.3, -0.9), (-0.3, 0.1),
        (-0.75, 0.1)])],
    "wave": [("line", 1, [(-0.95, y), (-0.5, y + 0.3), (0, y), (0.45, y - 0.3), (0.95, y)],
        0.18) for y in (0.5, 0.0, -0.5)],
    "cross": [("poly", 1, [(-0.3, 0.9), (0.3, 0.9), (0.3, 0.3), (0.9, 0.3), (0.9, -0.3), (0.3, -0.3),
        (0.3, -0.9), (-0.3, -0.9), (-0.3, -0.3), (-0.9, -0.3), (-0.9, 0.3), (-0.3, 0.3)])],
    "rabbit": [
        ("disc", 1, 0, -0.35, 0.55),
        ("curve", 1, [(-0.35, -0.1), (-0.6, 0.7), (-0.38, 1), (-0.12, 0.6), (-0.08, 0)]),
        ("curve", 1, [(0.35, -0.1), (0.6, 0.7), (0.38, 1), (0.12, 0.6), (0.08, 0)]),
        ("disc", 0, -0.2, -0.25, 0.1), ("disc", 0, 0.2, -0.25, 0.1), ("disc", 0, 0, -0.5, 0.08),
    ],
    "bars": [("poly", 1, [(x, -0.8), (x + 0.4, -0.8), (x + 0.4, top), (x, top)]) for x, top in ((-0.9,
        -0.1), (-0.2, 0.4), (0.5, 0.9))],
    "hexagon": [("poly", 1, _star(3, 1.0)), ("poly", 0, [(x * 0.72, y * 0.72) for x, y in _star(3,
        1.0)]), ("disc", 1, 0, 0, 0.35)],
    "apple": [("curve", 1, [(0, 0.4), (0.5, 0.55), (0.85, 0.1), (0.5, -0.8), (0, -0.75), (-0.5, -0.8),
        (-0.85, 0.1), (-0.5, 0.55)]), ("line", 1, [(0, 0.4), (0.12, 0.9)], 0.12), ("curve", 1, [(0.15,
        0.65), (0.5, 1), (0.65, 0.75)])],
    "ship": [("poly", 1, [(-0.9, -0.4), (0.9, -0.4), (0.6, -0.9), (-0.6, -0.9)]), ("poly", 1, [(0.05, 1),
        (0.05, -0.25), (0.85, -0.25)]), ("poly", 1, [(-0.1, 0.7), (-0.1, -0.25), (-0.7, -0.25)])],
}  # fmt: skip


def draw_glyph(
    canvas: Array,
    name: str,
    centre: tuple[float, float],
    reach: float,
    ink: Array,
    under: Array,
    turn: float = 0.0,
) -> None:
    """Draws a glyph onto ``canvas`` (h, w, 3) uint8, in place.

    Args:
        canvas: The picture drawn on.
        name: Key of :data:`GLYPHS`.
        centre: Pixel x, y of the glyph's centre.
        reach: Half the glyph's size, in pixels.
        ink: RGB of the print.
        under: RGB of its holes.
        turn: Turn, in radians.
    """
    c, s = math.cos(turn), math.sin(turn)

    def pixels(points: Any) -> Array:
        p = np.asarray(points, np.float64)
        x, y = p[:, 0] * c - p[:, 1] * s, p[:, 0] * s + p[:, 1] * c
        return np.round((np.stack([x, -y], axis=1) * reach + centre) * 16).astype(np.int32)

    for kind, layer, *shape in GLYPHS[name]:
        colour = [float(v) for v in (ink if layer else under)]
        if kind == "disc":
            x, y, radius = shape
            at = pixels([(x, y)])[0]
            cv2.circle(
                canvas, (int(at[0]), int(at[1])), round(radius * reach * 16), colour, -1, cv2.LINE_AA, 4
            )
        elif kind == "line":
            points, width = shape
            cv2.polylines(
                canvas, [pixels(points)], False, colour, max(1, round(width * reach)), cv2.LINE_AA, 4
            )
        else:
            outline = smooth(shape[0], closed=True) if kind == "curve" else shape[0]
            cv2.fillPoly(canvas, [pixels(outline)], colour, cv2.LINE_AA, 4)
