"""Shapes: the few surface builders that every made-up product is put together from.

A shape is a list of :class:`Part`. A part is a grid of points in space (rows run from the top of its
texture to the bottom, columns from left to right) plus the name of the paint that covers it. Axes: x
to the right, y up, z towards the viewer; sizes are free, a product is scaled to fit its photo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Point = Sequence[float]

_MASK_SIZE = 256
_SHEET_GRID = 81


@dataclass(frozen=True, eq=False)
class Part:
    """One painted surface.

    Attributes:
        grid: Points, (rows, columns, 3) float32.
        paint: Which of the product's paints covers it.
        mask: Cut-out over the texture, (h, w) uint8, 0 outside and 255 inside; None keeps everything.
        printed: Whether the product's print goes onto this part.
    """

    grid: Array
    paint: str = "main"
    mask: Array | None = None
    printed: bool = False

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the unrolled surface, in the units of the grid."""
        across = np.linalg.norm(np.diff(self.grid, axis=1), axis=2).sum(axis=1).max()
        down = np.linalg.norm(np.diff(self.grid, axis=0), axis=2).sum(axis=0).max()
        return float(across), float(down)


def place(
    parts: Sequence[Part], *, at: Point = (0, 0, 0), turn: Point = (0, 0, 0), scale: float | Point = 1.0
) -> list[Part]:
    """Returns the parts scaled, then turned about x, y and z (degrees), then moved."""
    matrix = rotation(*turn) * np.asarray(np.broadcast_to(scale, 3), np.float32)
    offset = np.asarray(at, np.float32)
    return [replace(part, grid=turned(part.grid, matrix) + offset) for part in parts]


def turned(points: Array, matrix: Array) -> Array:
    """Multiplies each of the points (..., 3) by a (3, 3) matrix; float32."""
    # Not `@`: a threaded BLAS may round differently with another number of threads.
    flat = np.ascontiguousarray(points, np.float32).reshape(-1, 1, 3)
    return cv2.transform(flat, np.asarray(matrix, np.float32)).reshape(points.shape)


def as_bytes(picture: Array) -> Array:
    """Cuts grey levels to 0..255 and drops their fractions; uint8."""
    return np.clip(picture, 0, 255).astype(np.uint8)


def rotation(x: float, y: float, z: float) -> Array:
    """Returns the (3, 3) float32 matrix that turns about x, then y, then z (degrees)."""
    a, b, c = math.radians(x), math.radians(y), math.radians(z)
    about_x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    about_y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    about_z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    matrix: Array = (about_z @ about_y @ about_x).astype(np.float32)
    return matrix


def smooth(points: Sequence[Point] | Array, *, closed: bool = False, steps: int = 8) -> Array:
    """Runs a Catmull-Rom spline through ``points`` (n, d); repeated points stay sharp corners."""
    p = np.asarray(points, np.float64)
    if closed:
        p = np.concatenate([p[-1:], p, p[:2]])
    else:
        p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None, :] for i in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    # A repeated point spans no distance of its own; left in, it would draw a small loop.
    flat: Array = curve[np.any(p[1:-2] != p[2:-1], axis=1)].reshape(-1, p.shape[1])
    return flat if closed else np.concatenate([flat, p[-2:-1]])


def even(points: Array, count: int) -> Array:
    """Resamples a polyline (n, d) to ``count`` points at even distances."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0, at[-1], count)
    return np.stack([np.interp(wanted, at, column) for column in points.T], axis=1)


def ring(power: float, count: int, wide: float = 1.0, deep: float = 1.0) -> Array:
    """Returns a closed superellipse (count, 2) of even spacing that starts and ends at the back.

    ``power`` 2 is an ellipse, 8 nearly a rectangle. The middle point faces the viewer.
    """
    t = np.linspace(-math.pi, math.pi, 721)
    s, c = np.sin(t), np.cos(t)
    # sin(pi) is not quite 0, and a root of it would leave a gap.
    s[[0, -1]] = 0.0
    x = wide * np.sign(s) * np.abs(s) ** (2 / power)
    z = deep * np.sign(c) * np.abs(c) ** (2 / power)
    return even(np.stack([x, z], axis=1), count)


def lathe(
    profile: Sequence[Point],
    paint: str = "main",
    *,
    wide: float = 1.0,
    deep: float = 1.0,
    power: float = 2.0,
    curved: bool = True,
    printed: bool = False,
) -> list[Part]:
    """Turns a profile of (radius, height) points, top first, about the y axis."""
    line = even(smooth(profile) if curved else np.asarray(profile, np.float64), 57)
    section = ring(power, 65, wide, deep)
    radius, height = line[:, 0, None], line[:, 1, None]
    grid = np.stack(
        [radius * section[None, :, 0], np.broadcast_to(height, (57, 65)), radius * section[None, :, 1]],
        axis=2,
    )
    return [Part(grid.astype(np.float32), paint, printed=printed)]


def tube(
    path: Sequence[Point],
    radius: float | Sequence[float],
    paint: str = "main",
    *,
    flat: float | Sequence[float] = 1.0,
    power: float = 2.0,
    closed: bool = False,
    curved: bool = True,
    up: Point = (0, 0, 1),
    printed: bool = False,
) -> list[Part]:
    """Sweeps a section along a path of points.

    ``radius`` (one number, or one per point) is the half width across ``up``; along ``up`` it is
    ``flat`` times that.
    """
    points = np.asarray(path, np.float64)
    widths = [np.broadcast_to(np.asarray(value, np.float64), (len(points),)) for value in (radius, flat)]
    line = np.concatenate([points, np.stack(widths, axis=1)], axis=1)
    if curved:
        line = smooth(line, closed=closed)
    if closed:
        line = np.concatenate([line, line[:1]])
    line = even(line, min(65, 10 * len(points)))
    centre, width = line[:, :3], np.maximum(line[:, 3:4, None], 1e-4)
    tangent = np.gradient(centre, axis=0)
    if closed:
        tangent[0] = tangent[-1] = centre[1] - centre[-2]
    side = np.cross(tangent, np.asarray(up, np.float64))
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    above = np.cross(side, tangent)
    above /= np.linalg.norm(above, axis=1, keepdims=True) + 1e-9
    section = ring(power, 21)
    grid = (
        centre[:, None]
        + width * section[None, :, :1] * side[:, None]
        + width * line[:, 4:, None] * section[None, :, 1:] * above[:, None]
    )
    return [Part(grid.astype(np.float32), paint, printed=printed)]


def ball(
    radius: float, paint: str = "main", *, wide: float = 1.0, deep: float = 1.0, printed: bool = False
) -> list[Part]:
    """A ball, or an egg where ``wide`` or ``deep`` is not 1, about the origin."""
    t = np.linspace(0, math.pi, 25)
    profile = np.stack([radius * np.sin(t), radius * np.cos(t)], axis=1)
    return lathe([tuple(p) for p in profile], paint, wide=wide, deep=deep, curved=False, printed=printed)


def disc(
    radius: float, paint: str = "main", *, y: float = 0.0, wide: float = 1.0, deep: float = 1.0
) -> list[Part]:
    """A flat horizontal disc."""
    return lathe([(0.0, y), (radius, y)], paint, wide=wide, deep=deep, curved=False)


def panel(width: float, height: float, paint: str = "main", *, printed: bool = False) -> list[Part]:
    """A flat upright rectangle about the origin that faces the viewer."""
    x, y = np.meshgrid(np.linspace(-width / 2, width / 2, 9), np.linspace(height / 2, -height / 2, 9))
    return [Part(np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.float32), paint, printed=printed)]


def box(
    width: float,
    height: float,
    depth: float,
    paint: str = "main",
    *,
    side: str | None = None,
    printed: bool = False,
) -> list[Part]:
    """A box with sharp edges about the origin; ``side`` paints all faces but front and back."""
    side = side or paint
    front = place(panel(width, height, paint, printed=printed), at=(0, 0, depth / 2))
    back = place(panel(width, height, paint), at=(0, 0, -depth / 2), turn=(0, 180, 0))
    right = place(panel(depth, height, side), at=(width / 2, 0, 0), turn=(0, 90, 0))
    left = place(panel(depth, height, side), at=(-width / 2, 0, 0), turn=(0, -90, 0))
    top = place(panel(width, depth, side), at=(0, height / 2, 0), turn=(-90, 0, 0))
    bottom = place(panel(width, depth, side), at=(0, -height / 2, 0), turn=(90, 0, 0))
    return front + back + right + left + top + bottom


def rounded(
    width: float,
    height: float,
    depth: float,
    paint: str = "main",
    *,
    edge: float = 0.12,
    power: float = 7.0,
    taper: float = 1.0,
    printed: bool = False,
) -> list[Part]:
    """A box with soft edges about the origin, ``taper`` times as wide at the top."""
    e = edge * min(width, height, depth)
    h = height / 2
    inner = 1 - e / max(width, depth) * 2
    profile = [(0.0, h), (inner * taper, h), (inner * taper, h), (taper, h - e), (taper, h - e)]
    profile += [(1.0, e - h), (1.0, e - h), (inner, -h), (inner, -h), (0.0, -h)]
    return lathe(profile, paint, wide=width / 2, deep=depth / 2, power=power, printed=printed)


def sheet(
    outline: Sequence[Point] | Array,
    depth: float,
    paint: str = "main",
    *,
    back: str | None = None,
    bevel: float = 0.5,
    holes: Sequence[Sequence[Point] | Array] = (),
    creases: float = 0.0,
    printed: bool = False,
) -> list[Part]:
    """A flat outline in the x-y plane, puffed up to ``depth``, like a cushion or a folded garment.

    ``bevel`` is how far from the edge the full depth is reached, as a share of the widest inner radius;
    ``creases`` is the height of soft folds in the cloth.
    """
    shape = np.asarray(outline, np.float64)
    low, high = shape.min(axis=0), shape.max(axis=0)
    span = high - low

    def pixels(points: Sequence[Point] | Array) -> Array:
        scaled = (np.asarray(points, np.float64) - low) / span
        scaled[:, 1] = 1 - scaled[:, 1]
        fixed: Array = np.round(scaled * (_MASK_SIZE - 1) * 16).astype(np.int32)
        return fixed

    mask = np.zeros((_MASK_SIZE, _MASK_SIZE), np.uint8)
    cv2.fillPoly(mask, [pixels(shape)], 255, cv2.LINE_AA, 4)
    for hole in holes:
        cv2.fillPoly(mask, [pixels(hole)], 0, cv2.LINE_AA, 4)
    inside = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 5)
    reach = np.minimum(inside / max(bevel * float(inside.max()), 1.0), 1.0)
    height = depth * np.sqrt(np.maximum(1 - (1 - reach) ** 2, 0))
    height = cv2.resize(
        cv2.GaussianBlur(height, (0, 0), 1.5), (_SHEET_GRID, _SHEET_GRID), interpolation=cv2.INTER_AREA
    )
    if creases:
        folds = np.random.default_rng(len(shape)).standard_normal((_SHEET_GRID, _SHEET_GRID))
        height = height + creases * 14 * cv2.GaussianBlur(folds, (0, 0), sigmaX=4, sigmaY=7)
    x, y = np.meshgrid(np.linspace(low[0], high[0], _SHEET_GRID), np.linspace(high[1], low[1], _SHEET_GRID))
    front = np.stack([x, y, height], axis=2).astype(np.float32)
    rear = np.stack([x, y, -height], axis=2).astype(np.float32)
    return [Part(front, paint, mask, printed), Part(rear, back or paint, mask)]


def slab(
    outline: Sequence[Point] | Array,
    depth: float,
    paint: str = "main",
    *,
    side: str | None = None,
    holes: Sequence[Sequence[Point] | Array] = (),
    printed: bool = False,
) -> list[Part]:
    """A flat outline in the x-y plane, cut out of a board of thickness ``depth``."""
    shape = np.asarray(outline, np.float64)
    faces = sheet(shape, 0.0, paint, holes=holes, printed=printed)
    parts = place(faces[:1], at=(0, 0, depth / 2)) + place(faces[1:], at=(0, 0, -depth / 2))
    for edge in [shape, *(np.asarray(hole, np.float64) for hole in holes)]:
        loop = even(np.concatenate([edge, edge[:1]]), 97)
        rows = [np.concatenate([loop, np.full((97, 1), z)], axis=1) for z in (depth / 2, 0.0, -depth / 2)]
        parts.append(Part(np.stack(rows).astype(np.float32), side or paint))
    return parts


def oval(width: float, height: float, *, power: float = 2.0, at: Point = (0, 0), count: int = 48) -> Array:
    """Returns a closed superellipse outline (count, 2) of the given full width and height."""
    return ring(power, count + 1, width / 2, height / 2)[:-1] + np.asarray(at, np.float64)


def flipped(parts: Sequence[Part]) -> list[Part]:
    """Returns the parts mirrored at x = 0, as the other one of a pair."""
    return [replace(part, grid=part.grid * np.array([-1, 1, 1], np.float32), printed=False) for part in parts]


def mirror(half: Sequence[Point], *, curved: bool = True) -> Array:
    """Returns a closed outline from its right half (top first), mirrored at x = 0."""
    right = smooth(half) if curved else np.asarray(half, np.float64)
    left = right[::-1] * np.array([-1.0, 1.0])
    return np.concatenate([right, left])
