"""One photo: place the product, the ground, the shadow and what else is about, then light them."""

from __future__ import annotations

import cv2
import numpy as np

from lookalike.synth.backgrounds import draw_surfaces
from lookalike.synth.develop import develop
from lookalike.synth.geometry import Array, rotation
from lookalike.synth.leaf import Pose
from lookalike.synth.render import Camera, Light, Model, Projection, project, render, resampled, samples
from lookalike.synth.styles import Style

_OVERSAMPLING = 1.5
_SURFACES = 36
LARGEST_PHOTO = 512
_GRAIN = LARGEST_PHOTO + 128


class Stage:
    """What photos share: grounds, walls and the other things that lie about."""

    def __init__(self, seed: int, props: list[Model]) -> None:
        random = np.random.default_rng([seed, 1])
        self.surfaces = draw_surfaces(random, _SURFACES)
        self.grain = random.standard_normal((_GRAIN, _GRAIN, 3), dtype=np.float32)
        self.props = [_cut_out(model, random) for model in props]


def _cut_out(model: Model, random: np.random.Generator) -> Array:
    """Photographs a prop once: (128, 128, 4) float32, colour times coverage, then coverage in 0..1."""
    yaw, pitch, roll = (float(random.uniform(*limits)) for limits in ((-60, 60), (5, 30), (-20, 20)))
    view = project(model, Camera(yaw, pitch, roll, distance=5.0, fill=0.95, shift=(0.0, 0.0)), 192)
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
    """Takes one photo.

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
    picture *= np.float32(1) - _shadow(model, view, pose, lamp, random, size)[..., None]
    picture = picture * (1 - product[..., 3:]) + product[..., :3]
    if random.random() < style.covered:
        _cover(picture, stage, random)
    return develop(picture, style, stage.grain, random), int(random.integers(*style.quality))


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
    model: Model,
    view: Projection,
    pose: Pose,
    style: Style,
    stage: Stage,
    random: np.random.Generator,
    size: int,
) -> Array:
    """Draws what is behind and below the product, (size, size, 3) float32."""
    if random.random() < style.plain:
        return _seamless(random, size)
    surface = stage.surfaces[int(random.integers(len(stage.surfaces)))]
    shrink = size / view.size
    reach = float(random.uniform(1.6, 3.5))
    if pose.rest == "floor":
        level = float(model.low[1])
        corners = np.array(
            [
                [-reach, level, -reach],
                [reach, level, -reach],
                [reach, level, reach * 0.4],
                [-reach, level, reach * 0.4],
            ]
        )
        # The ground keeps square to the camera however the product is turned.
        corners = corners @ (rotation(0, _yaw(view), 0))
    else:
        level = float(model.low[2])
        corners = np.array(
            [[-reach, reach, level], [reach, reach, level], [reach, -reach, level], [-reach, -reach, level]]
        )
    screen = view(corners.astype(np.float32))[:, :2] * shrink
    side = float(surface.shape[0])
    source = np.array(
        [
            [0, 0],
            [side, 0],
            [side, side * (0.7 if pose.rest == "floor" else 1)],
            [0, side * (0.7 if pose.rest == "floor" else 1)],
        ],
        np.float32,
    )
    matrix = cv2.getPerspectiveTransform(source, screen.astype(np.float32))
    picture = cv2.warpPerspective(surface, matrix, (size, size), borderMode=cv2.BORDER_WRAP).astype(
        np.float32
    )
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
    sweep: Array = (tone * light[..., None]).astype(np.float32)
    return sweep


def _add_wall(picture: Array, left: Array, right: Array, stage: Stage, random: np.random.Generator) -> None:
    """Fills what lies above the far edge of the ground, through ``left`` and ``right``."""
    size = picture.shape[0]
    y, x = np.mgrid[:size, :size].astype(np.float32)
    slope = float(right[1] - left[1]) / max(float(right[0] - left[0]), 1.0)
    above = y < float(left[1]) + slope * (x - float(left[0]))
    if not above.any():
        return
    if random.random() < 0.5:
        wall = np.broadcast_to(random.uniform(90, 235) + random.uniform(-25, 25, 3), picture.shape).astype(
            np.float32
        )
    else:
        surface = stage.surfaces[int(random.integers(len(stage.surfaces)))]
        offset = random.integers(0, surface.shape[0] - 200, 2)
        patch = surface[offset[0] : offset[0] + 200, offset[1] : offset[1] + 200]
        wall = cv2.GaussianBlur(
            cv2.resize(patch, (size, size)), (0, 0), float(random.uniform(0.8, 4.0))
        ).astype(np.float32)
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
    drop = (model.vertices[:, axis] - level) / direction[axis]
    spots = view(model.vertices - drop[:, None] * direction) * np.float32(small / view.size)
    for screen, cut in zip(model.split(spots), model.masks, strict=True):
        rows, columns = samples(screen, small)
        x, y = resampled(screen[..., :2], rows, columns)
        inside = (x >= 0) & (x < small) & (y >= 0) & (y < small)
        if cut is not None:
            inside &= cv2.resize(cut, (columns, rows)).reshape(-1) > 127
        mask[y[inside].astype(np.int32), x[inside].astype(np.int32)] = 1
    softness = float(random.uniform(1.2, 4.0)) * small / 112
    soft = cv2.GaussianBlur(mask, (0, 0), softness) * float(random.uniform(0.25, 0.6))
    return cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR)


def _add_prop(picture: Array, stage: Stage, random: np.random.Generator, *, front: bool) -> None:
    """Puts another thing near the picture's border, behind the product or in front of it."""
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
    picture[y0:y1, x0:x1] = picture[y0:y1, x0:x1] * (1 - piece[..., 3:]) + piece[..., :3] * random.uniform(
        0.7, 1.0
    )


def _cover(picture: Array, stage: Stage, random: np.random.Generator) -> None:
    """Hides a part of the product: fingers that hold it, a price sticker, or a thing in front."""
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
    tones = ((224, 180, 150), (196, 144, 112), (140, 96, 70), (92, 62, 46))
    skin = np.array(tones[int(random.integers(len(tones)))], np.float32)
    edge = random.uniform(0, 2 * np.pi)
    along = np.array([np.cos(edge), np.sin(edge)])
    across = np.array([-along[1], along[0]])
    width = size * random.uniform(0.04, 0.055)
    count = int(random.integers(2, 5))
    for n in range(count):
        aside = across * width * (n - (count - 1) / 2)
        root = size / 2 + along * size * 0.78 + aside * 2.5
        tip = size / 2 + along * size * random.uniform(0.27, 0.34) + aside * 2.05
        for shade, wide in ((0.7, 2.15), (0.88, 1.8), (1.0, 1.2)):
            _stroke(layer, root, tip, skin * shade, width * wide)
        _stroke(layer, tip + along * width * 0.3, tip - along * width * 0.15, skin * 1.12 + 12, width * 0.95)
    picture[:] = cv2.GaussianBlur(layer, (0, 0), 1.2)


def _stroke(layer: Array, start: Array, end: Array, colour: Array, width: float) -> None:
    """Draws a line with round ends, in place."""
    ends = [tuple(int(v * 16) for v in point) for point in (start, end)]
    tone = [float(v) for v in np.minimum(colour, 255)]
    cv2.line(layer, ends[0], ends[1], tone, max(1, round(width)), cv2.LINE_AA, 4)


def _sticker(picture: Array, random: np.random.Generator) -> None:
    size = picture.shape[0]
    centre = size / 2 + random.uniform(-0.22, 0.22, 2) * size
    shape = (
        centre.tolist(),
        (size * random.uniform(0.12, 0.24), size * random.uniform(0.08, 0.15)),
        float(random.uniform(-30, 30)),
    )
    corners = cv2.boxPoints(shape)
    colour = [(250, 250, 245), (250, 220, 60), (225, 50, 45), (250, 140, 40)][int(random.integers(4))]
    cv2.fillConvexPoly(picture, np.round(corners * 16).astype(np.int32), colour, cv2.LINE_AA, 4)
    bars = np.linspace(0.2, 0.8, 7)
    for at in bars:
        top, low = corners[1] + (corners[2] - corners[1]) * at, corners[0] + (corners[3] - corners[0]) * at
        ends = [tuple(int(v) for v in top * (1 - share) + low * share) for share in (0.3, 0.75)]
        cv2.line(picture, ends[0], ends[1], (40, 40, 40), int(random.integers(1, 3)))
