"""A small point renderer: surfaces in, shaded pixels out.

Each surface is resampled in screen space until its points lie closer than a pixel, and the nearest point
wins each pixel. Normals and texture are looked up afterwards for the winners alone, so the cost follows
the pixels that are seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lookalike.synth.geometry import Array, Part, rotation, turned

_FAR = np.uint64(2**64 - 1)
_DENSITY = 1.2


@dataclass(frozen=True)
class Surface:
    """How a painted part answers light.

    Attributes:
        texture: RGB, (h, w, 3) uint8.
        gloss: Strength of the highlight, 0 (cloth) to 1 (glass).
        metal: Share of mirrored surroundings in the colour, 0 to 1.
    """

    texture: Array
    gloss: float
    metal: float = 0.0


@dataclass(frozen=True)
class Camera:
    """Where a photo is taken from.

    Attributes:
        yaw, pitch, roll: Turns of the product, in degrees; a higher pitch looks from further above.
        distance: From the product's centre, in product radii; small values give strong perspective.
        fill: Share of the photo that the product's longer side takes.
        shift: Where the product's centre lies from the photo's centre, as a share of the photo.
    """

    yaw: float
    pitch: float
    roll: float
    distance: float
    fill: float
    shift: tuple[float, float]


@dataclass(frozen=True)
class Light:
    """Light of a photo: ``direction`` points to the lamp in camera axes; the rest are strengths."""

    direction: tuple[float, float, float]
    ambient: float
    key: float
    fill: float


class Model:
    """A product ready to be photographed: its surfaces packed into one atlas of textures and normals."""

    def __init__(self, parts: Sequence[Part], surfaces: Sequence[Surface]) -> None:
        low = np.min([part.grid.min(axis=(0, 1)) for part in parts], axis=0)
        high = np.max([part.grid.max(axis=(0, 1)) for part in parts], axis=0)
        self.scale = 2.0 / float(np.linalg.norm(high - low))
        self.centre = (low + high) / 2
        self.grids = [((part.grid - self.centre) * self.scale).astype(np.float32) for part in parts]
        self.low = ((low - self.centre) * self.scale).astype(np.float32)
        self.masks = [part.mask for part in parts]
        self.vertices = np.concatenate([grid.reshape(-1, 3) for grid in self.grids])
        self._ends = np.cumsum([grid.shape[0] * grid.shape[1] for grid in self.grids])
        self.normals, self.normal_rows = _stack([_normals(grid) for grid in self.grids])
        self.textures, self.texture_rows = _stack([surface.texture for surface in surfaces])
        self.grid_shapes = np.array([grid.shape[:2] for grid in self.grids], np.int32)
        sizes = np.array([surface.texture.shape[:2] for surface in surfaces], np.int32)
        self.texture_ratios = ((sizes - 1) / (self.grid_shapes - 1)).astype(np.float32)
        self.gloss = np.array([surface.gloss for surface in surfaces], np.float32)
        self.metal = np.array([surface.metal for surface in surfaces], np.float32)

    def split(self, vertices: Array) -> list[Array]:
        """Cuts an array over all vertices, (n, d), back into one grid (rows, columns, d) per part."""
        pieces = np.split(vertices, self._ends[:-1])
        return [piece.reshape(*grid.shape[:2], -1) for piece, grid in zip(pieces, self.grids, strict=True)]


@dataclass(frozen=True)
class Projection:
    """The map from product space to the pixels of a square buffer of ``size``."""

    turn: Array
    distance: float
    focal: float
    offset: Array
    size: int

    def __call__(self, points: Array) -> Array:
        """Returns (..., 3) float32: pixel x, pixel y (down), depth away from the camera."""
        seen = turned(points, self.turn)
        depth = np.float32(self.distance) - seen[..., 2]
        scale = np.float32(self.focal) / np.maximum(depth, np.float32(0.05))
        screen = np.empty_like(seen, np.float32)
        screen[..., 0] = np.float32(self.offset[0]) + seen[..., 0] * scale
        screen[..., 1] = np.float32(self.offset[1]) - seen[..., 1] * scale
        screen[..., 2] = depth
        return screen


def project(model: Model, camera: Camera, size: int) -> Projection:
    """Fits the model into a square buffer as ``camera`` asks."""
    turn = rotation(0, 0, camera.roll) @ rotation(camera.pitch, 0, 0) @ rotation(0, camera.yaw, 0)
    raw = Projection(turn, camera.distance, 1.0, np.zeros(2), size)(model.vertices)[:, :2]
    low, high = raw.min(axis=0), raw.max(axis=0)
    focal = camera.fill * size / float((high - low).max())
    offset = size * (0.5 + np.asarray(camera.shift)) - focal * (low + high) / 2
    return Projection(turn, camera.distance, focal, offset, size)


def render(model: Model, view: Projection, light: Light) -> tuple[Array, Array]:
    """Returns the shaded product, (S, S, 3) float32 RGB in 0..255, and its coverage, (S, S) bool."""
    seen = _visible(model, view)
    part = seen.part
    normal = _look_up(model.normals, seen.column, seen.row + model.normal_rows[part])
    ratio = model.texture_ratios[part]
    texture_row = seen.row * ratio[:, 0] + model.texture_rows[part]
    colour = _look_up(model.textures, seen.column * ratio[:, 1], texture_row)
    lit = _shade(colour, turned(normal, view.turn), light, model.gloss[part], model.metal[part])
    shaded = np.zeros((view.size * view.size, 3), np.float32)
    depth = np.full(view.size * view.size, seen.depth.max(initial=0.0), np.float32)
    shaded[seen.pixel] = lit
    depth[seen.pixel] = seen.depth
    hit = np.zeros(view.size * view.size, bool)
    hit[seen.pixel] = True
    square = (view.size, view.size)
    return shaded.reshape(*square, 3) * _crevices(depth.reshape(square))[..., None], hit.reshape(square)


def _look_up(image: Array, x: Array, y: Array) -> Array:
    """Samples an (h, w, 3) image bilinearly at n places; returns (n, 3)."""
    # remap takes no side longer than 32,767, so the list is folded into rows of 256.
    shape = (-(-len(x) // 256), 256)
    columns, rows = np.resize(x.astype(np.float32), shape), np.resize(y.astype(np.float32), shape)
    return cv2.remap(image, columns, rows, cv2.INTER_LINEAR).reshape(-1, 3)[: len(x)]


def _normals(grid: Array) -> Array:
    down, across = np.gradient(grid, axis=(0, 1))
    normal = np.cross(down, across)
    length = np.linalg.norm(normal, axis=2, keepdims=True)
    # At a pole all columns meet and the cross product vanishes: take the next row's normal.
    for pole, next_row in ((0, 1), (-1, -2)):
        if length[pole].max() < 1e-6:
            normal[pole] = normal[next_row].mean(axis=0)
            length[pole] = np.linalg.norm(normal[pole], axis=-1, keepdims=True)
    unit: Array = (normal / (length + 1e-12)).astype(np.float32)
    return unit


def _stack(images: Sequence[Array]) -> tuple[Array, Array]:
    """Stacks images of different sizes on top of each other; also returns each one's first row."""
    width = max(image.shape[1] for image in images)
    rows = np.cumsum([0, *(len(image) for image in images)])
    atlas = np.zeros((rows[-1], width, 3), images[0].dtype)
    for row, image in zip(rows, images, strict=False):
        atlas[row : row + len(image), : image.shape[1]] = image
    return atlas, rows[:-1].astype(np.float32)


@dataclass(frozen=True)
class _Seen:
    """The nearest surface point of each covered pixel; all arrays are (n,)."""

    pixel: Array
    part: Array
    row: Array
    column: Array
    depth: Array


def _visible(model: Model, view: Projection) -> _Seen:
    """Resamples every part in screen space and keeps the nearest point of each pixel."""
    size = view.size
    nearest = np.full(size * size, _FAR, np.uint64)
    shapes: list[tuple[int, int]] = []
    starts = [0]
    for screen, mask in zip(model.split(view(model.vertices)), model.masks, strict=True):
        rows, columns = samples(screen, size)
        x, y, depth = resampled(screen, rows, columns)
        order = np.arange(starts[-1], starts[-1] + rows * columns, dtype=np.uint64)
        kept = _kept(x, y, screen, mask, (columns, rows), size)
        if kept is not None:
            x, y, depth, order = x[kept], y[kept], depth[kept], order[kept]
        pixel = y.astype(np.int32) * size + x.astype(np.int32)
        # The bits of positive floats sort as the floats do.
        key = depth.view(np.uint32).astype(np.uint64) << np.uint64(32) | order
        np.minimum.at(nearest, pixel, key)
        shapes.append((rows, columns))
        starts.append(starts[-1] + rows * columns)
    covered = np.flatnonzero(nearest != _FAR)
    winner = nearest[covered]
    point = (winner & np.uint64(0xFFFFFFFF)).astype(np.int64)
    part = np.searchsorted(starts, point, side="right") - 1
    local = (point - np.asarray(starts)[part]).astype(np.int32)
    dense_shape = np.asarray(shapes, np.int32)
    ratio = (model.grid_shapes / dense_shape).astype(np.float32)[part]
    row, column = np.divmod(local, dense_shape[part, 1])
    # cv2.resize puts sample i at (i + 0.5) * ratio - 0.5 and clamps at the border.
    last = (model.grid_shapes - 1).astype(np.float32)[part]
    return _Seen(
        pixel=covered,
        part=part,
        row=np.clip((row + np.float32(0.5)) * ratio[:, 0] - np.float32(0.5), 0, last[:, 0]),
        column=np.clip((column + np.float32(0.5)) * ratio[:, 1] - np.float32(0.5), 0, last[:, 1]),
        depth=(winner >> np.uint64(32)).astype(np.uint32).view(np.float32),
    )


def samples(screen: Array, size: int) -> tuple[int, int]:
    """How many rows and columns of samples leave no gap between neighbouring pixels.

    Args:
        screen: A part's grid in pixels, (rows, columns, 2 or more).
        size: Side of the buffer; bounds the work for parts that reach far beyond it.
    """
    # Surfaces are smooth: every sixth line of the grid gives the step along the others.
    down = np.abs(np.diff(screen[:, ::6, :2], axis=0)).max() * screen.shape[0]
    across = np.abs(np.diff(screen[::6, :, :2], axis=1)).max() * screen.shape[1]
    limit = 3.0 * size
    return 2 + int(_DENSITY * min(float(down), limit)), 2 + int(_DENSITY * min(float(across), limit))


def resampled(screen: Array, rows: int, columns: int) -> list[Array]:
    """Resamples a part's grid, (h, w, d) float32, to flat columns of ``rows * columns`` values, one per d."""
    planes = np.ascontiguousarray(np.moveaxis(screen, 2, 0))
    return [
        cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_LINEAR).reshape(-1) for plane in planes
    ]


def _kept(
    x: Array, y: Array, screen: Array, mask: Array | None, shape: tuple[int, int], size: int
) -> Array | None:
    """Returns which samples lie in the buffer and in the part's cut-out; None where all do."""
    low, high = screen[..., :2].min(), screen[..., :2].max()
    inside = None
    if low < 0 or high >= size:
        inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    if mask is not None:
        cut = cv2.resize(mask, shape, interpolation=cv2.INTER_LINEAR).reshape(-1) > 127
        inside = cut if inside is None else inside & cut
    return inside


def _shade(colour: Array, normal: Array, light: Light, gloss: Array, metal: Array) -> Array:
    """Lights (n, 3) colours by (n, 3) camera-space normals: soft diffuse, sky, highlight, mirrored room."""
    normal = np.where(normal[:, 2:] < 0, -normal, normal)
    lamp = np.asarray(light.direction, np.float32)
    lamp /= np.linalg.norm(lamp)
    facing = normal @ lamp
    diffuse = np.maximum(facing * 0.75 + 0.25, 0)
    sky = 0.5 + 0.5 * normal[:, 1]
    strength = light.ambient + light.key * diffuse + light.fill * sky
    half = lamp + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    shine = np.maximum(normal @ half, 0)
    highlight = gloss * (190 * shine**60 + 45 * shine**12) * light.key
    rim = gloss * 40 * (1 - normal[:, 2]) ** 3
    room = 0.55 + 0.45 * np.sin(5 * normal[:, 1] + 2.2 * normal[:, 0] + 0.6)
    strength = strength * (1 - metal) + metal * (0.35 + room)
    lit: Array = colour * strength[:, None] + (highlight + rim)[:, None]
    return lit


def _crevices(depth: Array) -> Array:
    """Darkens what lies behind its surroundings, which parts touching pieces from each other."""
    around = cv2.blur(depth, (11, 11))
    shade: Array = 1 - np.clip((depth - around) * 2.2, 0, 0.4)
    return shade
