from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.synth.geometry import ball, box, even, lathe, panel, place, ring, sheet, slab, smooth, tube
from lookalike.synth.render import Camera, Light, Model, Surface, project, render

LIGHT = Light((0.3, 0.6, 0.8), 0.5, 0.5, 0.1)
FRONT = Camera(yaw=0, pitch=0, roll=0, distance=5, fill=0.8, shift=(0, 0))
RED, BLUE = (np.full((8, 8, 3), colour, np.uint8) for colour in ((220, 10, 10), (10, 10, 220)))


@settings(deadline=None)
@given(power=st.floats(1.5, 10), wide=st.floats(0.3, 3), deep=st.floats(0.3, 3))
def test_a_ring_is_closed_even_and_faces_the_viewer(power: float, wide: float, deep: float) -> None:
    points = ring(power, 65, wide, deep)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert np.allclose(points[0], points[-1], atol=1e-6)
    assert np.allclose(points[32], (0, deep), atol=0.05 * max(wide, deep))
    assert steps.max() < 1.5 * steps.mean()
    inside = np.abs(points[:, 0] / wide) ** power + np.abs(points[:, 1] / deep) ** power
    assert inside.max() < 1.01


def test_a_spline_passes_its_points_and_repeated_points_make_no_loop() -> None:
    corner = [(0.0, 0.0), (1.0, 0.0), (1.0, 0.0), (1.0, 1.0)]
    curve = smooth(corner)
    for point in corner:
        assert np.linalg.norm(curve - point, axis=1).min() < 1e-9
    assert np.ptp(curve, axis=0).max() < 1.2
    assert not (np.diff(curve, axis=0) == 0).all(axis=1).any()


def test_even_points_are_evenly_far_apart() -> None:
    line = even(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 9.0]]), 11)
    assert np.allclose(np.linalg.norm(np.diff(line, axis=0), axis=1), 1.0)


def test_shapes_have_the_size_asked_for() -> None:
    (part,) = lathe([(0.5, 1.0), (0.5, -1.0)], curved=False)
    assert np.allclose(np.linalg.norm(part.grid[..., [0, 2]], axis=2), 0.5, atol=0.01)
    assert part.size == pytest.approx((np.pi, 2.0), rel=0.01)
    points = np.concatenate([side.grid.reshape(-1, 3) for side in box(2, 4, 6)])
    assert np.ptp(points, axis=0) == pytest.approx((2, 4, 6), abs=1e-5)
    (bar,) = tube([(0, 0, 0), (4, 0, 0)], 0.25, flat=2.0)
    assert np.ptp(bar.grid.reshape(-1, 3), axis=0) == pytest.approx((4, 0.5, 1.0), rel=0.02)
    front, back = sheet([(-1, -1), (1, -1), (1, 1), (-1, 1)], 0.3)
    assert front.grid[..., 2].max() == pytest.approx(0.3, rel=0.05)
    assert np.allclose(front.grid[..., 2], -back.grid[..., 2])
    assert len(slab([(-1, -1), (1, -1), (1, 1)], 0.2)) == 3


def picture(parts: list, textures: list) -> tuple[np.ndarray, np.ndarray]:
    model = Model(parts, [Surface(texture, 0.0) for texture in textures])
    return render(model, project(model, FRONT, 120), LIGHT)


def test_the_nearer_part_hides_the_farther() -> None:
    front, back = place(panel(1, 1), at=(0, 0, 0.5)), panel(2, 2)
    for parts, textures in (([*front, *back], [RED, BLUE]), ([*back, *front], [BLUE, RED])):
        image, hit = picture(parts, textures)
        assert image[60, 60].argmax() == 0
        assert image[60, 20].argmax() == 2
        assert hit[60, 60]
        assert not hit[2, 2]


@pytest.mark.parametrize("turn", [0, 35, 80])
def test_a_surface_has_no_holes(turn: float) -> None:
    model = Model(ball(1.0), [Surface(RED, 0.3)])
    camera = Camera(yaw=turn, pitch=turn / 2, roll=10, distance=3, fill=0.9, shift=(0, 0))
    _, hit = render(model, project(model, camera, 200), LIGHT)
    y, x = np.mgrid[:200, :200] - 99.5
    inside = x**2 + y**2 < 86**2
    assert hit[inside].all()
    assert not hit[x**2 + y**2 > 94**2].any()


def test_light_falls_from_the_lamp() -> None:
    model = Model(ball(1.0), [Surface(RED, 0.0)])
    image, _ = render(model, project(model, FRONT, 120), Light((-1, 0.2, 0.4), 0.2, 0.8, 0.0))
    assert image[60, 30, 0] > 1.5 * image[60, 90, 0]
