"""One photo: place the product, the ground, the shadow and what else is about, then light them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lookalike.synth.backgrounds import draw_surfaces
from lookalike.synth.geometry import Array, rotation
from lookalike.synth.leaf import Pose
from lookalike.synth.render import Camera, Light, Model, Projection, project, render

_OVERSAMPLING = 1.5
_SURFACES = 36


@dataclass(frozen=True)
class Style:
    """A kind of photo; ranges are drawn from evenly, shares are probabilities.

    Attributes:
        fill: Share of the photo's side that the product takes; above 1 it is cropped.
        distance: Camera distance, in product radii.
        widen: How far beyond the leaf's own range the pose may go, as a factor.
        shift: Largest offset from the photo's centre, as a share of the photo.
        plain: Share of photos on a plain, seamless ground.
        clutter: Largest number of other things in the picture.
        covered: Share of photos in which something covers a part of the product.
        ambient, key: Strengths of the light from all sides and of the lamp.
        exposure: Overall brightness.
        tint: Largest deviation of a colour channel by the light's colour.
        unevenness: Largest fall of the light across the picture.
        blur: Largest blur, in pixels of a 224-pixel photo.
        noise: Largest sensor noise, in grey levels.
        quality: JPEG quality.
    """

    fill: tuple[float, float]
    distance: tuple[float, float]
    widen: float
    shift: float
    plain: float
    clutter: int
    covered: float
    ambient: tuple[float, float]
    key: tuple[float, float]
    exposure: tuple[float, float]
    tint: float
    unevenness: float
    blur: float
    noise: float
    quality: tuple[int, int]


STUDIO = Style(
    fill=(0.68, 0.92), distance=(4.5, 8.0), widen=0.75, shift=0.03, plain=1.0, clutter=0, covered=0.0,
    ambient=(0.42, 0.52), key=(0.42, 0.58), exposure=(0.92, 1.06), tint=0.03, unevenness=0.08, blur=0.4, noise=2.0,
    quality=(82, 95),
)  # fmt: skip
SHOP = Style(
    fill=(0.55, 0.9), distance=(3.6, 6.5), widen=1.0, shift=0.08, plain=0.25, clutter=2, covered=0.12,
    ambient=(0.3, 0.5), key=(0.4, 0.75), exposure=(0.75, 1.15), tint=0.12, unevenness=0.3, blur=0.7, noise=5.0,
    quality=(65, 92),
)  # fmt: skip
PHONE = Style(
    fill=(0.5, 1.02), distance=(2.8, 5.0), widen=1.15, shift=0.12, plain=0.0, clutter=4, covered=0.4,
    ambient=(0.22, 0.45), key=(0.35, 0.9), exposure=(0.6, 1.2), tint=0.22, unevenness=0.5, blur=1.2, noise=10.0,
    quality=(45, 85),
)  # fmt: skip


class Stage:
    """What photos share: grounds, walls and the other things that lie about."""

    def __init__(self, seed: int, props: list[Model]) -> None:
        random = np.random.default_rng([seed, 1])
        self.surfaces = draw_surfaces(random, _SURFACES)
        self.props = [_cut_out(model, random) for model in props]


def _cut_out(model: Model, random: np.random.Generator) -> Array:
    """Photograph a prop once: (128, 128, 4) float32, colour times coverage, then coverage in 0..1."""
    turn = [float(random.uniform(*limits)) for limits in ((-60, 60), (5, 30), (-20, 20))]
    view = project(model, Camera(*turn, distance=5.0, fill=0.95, shift=(0.0, 0.0)), 192)
    colour, hit = render(model, view, _lamp(random, 0.4, 0.6))
    return _shrink(colour, hit, 128)


def _shrink(colour: Array, hit: Array, size: int) -> Array:
    layered = np.dstack([colour, hit.astype(np.float32)])
    return cv2.resize(layered, (size, size), interpolation=cv2.INTER_AREA)


def _lamp(random: np.random.Generator, ambient: float, key: float) -> Light:
    side, high, front = random.uniform(-1, 1), random.uniform(0.5, 1.2), random.uniform(0.3, 1.0)
    return Light((float(side), float(high), float(front)), ambient, key, 0.12)


def photograph(
    model: Model, pose: Pose, style: Style, stage: Stage, random: np.random.Generator, size: int
) -> tuple[Array, int]:
    """Take one photo.

    Returns:
        The photo, (size, size, 3) uint8 RGB, and the JPEG quality to save it with.
    """
    buffer = round(size * _OVERSAMPLING)
    view = project(model, _camera(pose, style, random), buffer)
    lamp = _lamp(random, float(random.uniform(*style.ambient)), float(random.uniform(*style.key)))
    colour, hit = render(model, view, lamp)
    product = _shrink(colour, hit, size)
    picture = _ground(model, view, pose, style, stage, random, size)
    for _ in range(int(random.integers(style.clutter + 1))):
        _add_prop(picture, stage, random, front=False)
    picture *= 1 - _shadow(model, view, pose, lamp, random, size)[..., None]
    picture = picture * (1 - product[..., 3:]) + product[..., :3]
    if random.random() < style.covered:
        _cover(picture, stage, random)
    return _develop(picture, style, random), int(random.integers(*style.quality))


def _camera(pose: Pose, style: Style, random: np.random.Generator) -> Camera:
    def turn(limits: tuple[float, float]) -> float:
        middle, reach = sum(limits) / 2, (limits[1] - limits[0]) / 2 * style.widen
        return float(random.uniform(middle - reach, middle + reach))

    shift = random.uniform(-style.shift, style.shift, 2)
    return Camera(
        yaw=turn(pose.yaw),
        pitch=turn(pose.pitch),
        roll=turn(pose.roll),
        distance=float(random.uniform(*style.distance)),
        fill=float(random.uniform(*style.fill)),
        shift=(float(shift[0]), float(shift[1])),
    )


def _ground(
    model: Model, view: Projection, pose: Pose, style: Style, stage: Stage, random: np.random.Generator, size: int
) -> Array:
    """Draw what is behind and below the product, (size, size, 3) float32."""
    if random.random() < style.plain:
        return _seamless(random, size)
    surface = stage.surfaces[int(random.integers(len(stage.surfaces)))]
    shrink = size / view.size
    reach = float(random.uniform(1.6, 3.5))
    if pose.rest == "floor":
        level = float(model.low[1])
        corners = np.array([[-reach, level, -reach], [reach, level, -reach], [reach, level, reach * 0.4], [-reach, level, reach * 0.4]])
        # The ground keeps square to the camera however the product is turned.
        corners = corners @ (rotation(0, _yaw(view), 0))
    else:
        level = float(model.low[2])
        corners = np.array([[-reach, reach, level], [reach, reach, level], [reach, -reach, level], [-reach, -reach, level]])
    screen = view(corners.astype(np.float32))[:, :2] * shrink
    side = float(surface.shape[0])
    source = np.array([[0, 0], [side, 0], [side, side * (0.7 if pose.rest == "floor" else 1)], [0, side * (0.7 if pose.rest == "floor" else 1)]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, screen.astype(np.float32))
    picture = cv2.warpPerspective(surface, matrix, (size, size), borderMode=cv2.BORDER_WRAP).astype(np.float32)
    if pose.rest == "floor":
        _add_wall(picture, screen[0], screen[1], stage, random)
    return cv2.GaussianBlur(picture, (0, 0), float(random.uniform(0.3, 1.6)))


def _yaw(view: Projection) -> float:
    return float(np.degrees(np.arctan2(view.turn[0, 2], view.turn[0, 0])))


def _seamless(random: np.random.Generator, size: int) -> Array:
    """A studio's paper sweep: white or pale, a little brighter in the middle."""
    tone = np.full(3, random.uniform(225, 255)) + random.uniform(-6, 6, 3) * (random.random() < 0.5)
    if random.random() < 0.2:
        tone = random.uniform(130, 235) + random.uniform(-22, 22, 3)
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    light = 1.02 - random.uniform(0.0, 0.25) * (x**2 + y**2) - random.uniform(-0.06, 0.1) * y
    return (tone * light[..., None]).astype(np.float32)


def _add_wall(picture: Array, left: Array, right: Array, stage: Stage, random: np.random.Generator) -> None:
    """Fill what lies above the far edge of the ground, through ``left`` and ``right``."""
    size = picture.shape[0]
    y, x = np.mgrid[:size, :size].astype(np.float32)
    slope = float(right[1] - left[1]) / max(float(right[0] - left[0]), 1.0)
    above = y < float(left[1]) + slope * (x - float(left[0]))
    if not above.any():
        return
    if random.random() < 0.5:
        wall = np.broadcast_to(random.uniform(90, 235) + random.uniform(-25, 25, 3), picture.shape).astype(np.float32)
    else:
        surface = stage.surfaces[int(random.integers(len(stage.surfaces)))]
        offset = random.integers(0, surface.shape[0] - 200, 2)
        patch = surface[offset[0] : offset[0] + 200, offset[1] : offset[1] + 200]
        wall = cv2.GaussianBlur(cv2.resize(patch, (size, size)), (0, 0), float(random.uniform(0.8, 4.0))).astype(np.float32)
    picture[above] = wall[above] * random.uniform(0.7, 1.05)


def _shadow(
    model: Model, view: Projection, pose: Pose, lamp: Light, random: np.random.Generator, size: int
) -> Array:
    """How much light the product takes from its ground, (size, size) float32 in 0..1."""
    axis = 1 if pose.rest == "floor" else 2
    level = float(model.low[axis]) - 0.01
    direction = view.turn.T @ np.asarray(lamp.direction, np.float32)
    direction[axis] = max(float(direction[axis]), 0.75)
    small = size // 2
    mask = np.zeros((small, small), np.float32)
    for grid, cut in zip(model.grids, model.masks, strict=True):
        fallen = grid - direction * ((grid[..., axis] - level) / direction[axis])[..., None]
        spots = view(fallen)[..., :2] * (small / view.size)
        dense = cv2.resize(np.ascontiguousarray(spots), (150, 150), interpolation=cv2.INTER_LINEAR).reshape(-1, 2)
        if cut is not None:
            dense = dense[cv2.resize(cut, (150, 150)).reshape(-1) > 127]
        inside = ((dense >= 0) & (dense < small)).all(axis=1)
        x, y = dense[inside].astype(np.int32).T
        mask[y, x] = 1
    softness = float(random.uniform(1.2, 4.0)) * small / 112
    soft = cv2.GaussianBlur(mask, (0, 0), softness) * float(random.uniform(0.25, 0.6))
    return cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR)


def _add_prop(picture: Array, stage: Stage, random: np.random.Generator, *, front: bool) -> None:
    """Put another thing near the picture's border, behind the product or in front of it."""
    size = picture.shape[0]
    prop = stage.props[int(random.integers(len(stage.props)))]
    side = max(8, int(size * random.uniform(0.3, 0.65)))
    prop = cv2.resize(prop, (side, side), interpolation=cv2.INTER_AREA)
    if not front:
        prop = cv2.GaussianBlur(prop, (0, 0), float(random.uniform(0.4, 2.5)))
    angle = random.uniform(0, 2 * np.pi)
    reach = size * random.uniform(0.34, 0.5)
    if front:
        reach = size * random.uniform(0.4, 0.55)
    x = int(size / 2 + reach * np.cos(angle) - side / 2)
    y = int(size / 2 + reach * np.sin(angle) - side / 2)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, size), min(y + side, size)
    if x0 >= x1 or y0 >= y1:
        return
    piece = prop[y0 - y : y1 - y, x0 - x : x1 - x]
    picture[y0:y1, x0:x1] = picture[y0:y1, x0:x1] * (1 - piece[..., 3:]) + piece[..., :3] * random.uniform(0.7, 1.0)


def _cover(picture: Array, stage: Stage, random: np.random.Generator) -> None:
    """Hide a part of the product: fingers that hold it, a price sticker, or a thing in front."""
    kind = random.random()
    if kind < 0.35:
        _fingers(picture, random)
    elif kind < 0.65:
        _sticker(picture, random)
    else:
        _add_prop(picture, stage, random, front=True)


def _fingers(picture: Array, random: np.random.Generator) -> None:
    size = picture.shape[0]
    layer = picture.copy()
    skin = np.array([[224, 180, 150], [196, 144, 112], [140, 96, 70], [92, 62, 46]][int(random.integers(4))], np.float32)
    edge = random.uniform(0, 2 * np.pi)
    along = np.array([np.cos(edge), np.sin(edge)])
    across = np.array([-along[1], along[0]])
    width = size * random.uniform(0.035, 0.055)
    for n in range(int(random.integers(2, 5))):
        root = size / 2 + along * size * 0.75 + across * width * 2.1 * (n - 1.5)
        tip = size / 2 + along * size * random.uniform(0.24, 0.34) + across * width * 2.3 * (n - 1.5)
        for shade, wide in ((0.72, 2.3), (0.95, 1.9), (1.05, 0.9)):
            ends = [tuple(int(v * 16) for v in point) for point in (root, tip)]
            cv2.line(layer, ends[0], ends[1], [float(v) for v in skin * shade], max(1, round(width * wide)), cv2.LINE_AA, 4)
    picture[:] = cv2.GaussianBlur(layer, (0, 0), 0.8)


def _sticker(picture: Array, random: np.random.Generator) -> None:
    size = picture.shape[0]
    centre = size / 2 + random.uniform(-0.22, 0.22, 2) * size
    shape = (centre.tolist(), (size * random.uniform(0.12, 0.24), size * random.uniform(0.08, 0.15)), float(random.uniform(-30, 30)))
    corners = cv2.boxPoints(shape)
    colour = [(250, 250, 245), (250, 220, 60), (225, 50, 45), (250, 140, 40)][int(random.integers(4))]
    cv2.fillConvexPoly(picture, np.round(corners * 16).astype(np.int32), colour, cv2.LINE_AA, 4)
    bars = np.linspace(0.2, 0.8, 7)
    for at in bars:
        top, low = corners[1] + (corners[2] - corners[1]) * at, corners[0] + (corners[3] - corners[0]) * at
        ends = [tuple(int(v) for v in top * (1 - share) + low * share) for share in (0.3, 0.75)]
        cv2.line(picture, ends[0], ends[1], (40, 40, 40), int(random.integers(1, 3)))


def _develop(picture: Array, style: Style, random: np.random.Generator) -> Array:
    """Turn light into a photo: uneven and tinted light, exposure, blur, noise."""
    size = picture.shape[0]
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    angle = random.uniform(0, 2 * np.pi)
    fall = random.uniform(0, style.unevenness)
    light = 1 - fall * (0.5 + x * np.cos(angle) + y * np.sin(angle)) - 0.4 * fall * (x**2 + y**2)
    gain = random.uniform(*style.exposure) * (1 + random.uniform(-style.tint, style.tint) * np.array([1, 0.1, -1]))
    gain = gain * (1 + random.uniform(-style.tint / 3, style.tint / 3, 3))
    lit = np.clip(picture * light[..., None] * gain, 0, 255) / 255
    lit = lit ** random.uniform(1 - 2 * style.tint, 1 + 1.2 * style.tint)
    grey = lit.mean(axis=2, keepdims=True)
    lit = (grey + (lit - grey) * random.uniform(1 - 2 * style.tint, 1 + style.tint)).astype(np.float32)
    blur = random.uniform(0, style.blur) * size / 224
    if blur > 0.25:
        lit = _smear(lit, blur, random) if random.random() < 0.3 else cv2.GaussianBlur(lit, (0, 0), blur)
    grain = random.standard_normal((size, size, 3), dtype=np.float32) * np.float32(random.uniform(0, style.noise))
    return np.clip(lit * 255 + grain, 0, 255).astype(np.uint8)


def _smear(picture: Array, reach: float, random: np.random.Generator) -> Array:
    """Blur along a line, as a moving camera does."""
    side = 2 * max(1, round(reach * 1.6)) + 1
    kernel = np.zeros((side, side), np.float32)
    angle = random.uniform(0, np.pi)
    middle = side // 2
    offset = np.array([np.cos(angle), np.sin(angle)]) * middle
    ends = [(round(middle + s * offset[0]), round(middle + s * offset[1])) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return cv2.filter2D(picture, -1, kernel / kernel.sum())
