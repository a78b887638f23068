"""Surfaces that products lie on or stand in front of, drawn once and reused by every photo."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from lookalike.synth.geometry import Array, as_bytes

_SIZE = 320


def draw_surfaces(random: np.random.Generator, count: int) -> list[Array]:
    """Draws ``count`` surfaces, each (320, 320, 3) uint8 RGB, taking the kinds in turn."""
    return [_KINDS[n % len(_KINDS)](random) for n in range(count)]


def _noise(random: np.random.Generator, across: float, down: float) -> Array:
    """Smooth noise about 0 with a spread of 1, (h, w) float32; it repeats without a seam."""
    white = random.standard_normal((_SIZE, _SIZE), dtype=np.float32)
    fx, fy = np.fft.rfftfreq(_SIZE), np.fft.fftfreq(_SIZE)
    smoothing = np.exp(-2 * np.pi**2 * ((across * fx[None, :]) ** 2 + (down * fy[:, None]) ** 2))
    field = np.fft.irfft2(np.fft.rfft2(white) * smoothing, s=(_SIZE, _SIZE))
    normal: Array = ((field - field.mean()) / (field.std() + 1e-9)).astype(np.float32)
    return normal


def _fill(colour: Array, light: Array) -> Array:
    """Tints a brightness map (h, w) around 1 with a colour."""
    return as_bytes(colour * light[..., None])


def _tone(random: np.random.Generator, *colours: tuple[int, int, int]) -> Array:
    chosen = np.asarray(colours[int(random.integers(len(colours)))], np.float32)
    return chosen * np.float32(random.uniform(0.85, 1.12))


def _planks(random: np.random.Generator) -> Array:
    base = _tone(random, (176, 132, 88), (120, 84, 56), (206, 180, 146), (150, 140, 128))
    rows = int(random.integers(4, 9))
    light = 1 + 0.09 * _noise(random, 40, 1.1) + 0.05 * _noise(random, 90, 5)
    step = _SIZE // rows
    for row in range(rows + 1):
        light[row * step : (row + 1) * step] *= random.uniform(0.86, 1.12)
        light[row * step : row * step + 2] *= 0.55
        seam = int(random.integers(_SIZE))
        light[row * step : (row + 1) * step, seam : seam + 2] *= 0.6
    return _fill(base, light)


def _tiles(random: np.random.Generator) -> Array:
    base = _tone(random, (206, 204, 198), (120, 150, 160), (180, 160, 140), (90, 94, 100))
    count = int(random.integers(3, 8))
    step = _SIZE // count
    light = 1 + 0.03 * _noise(random, 6, 6)
    for row in range(count + 1):
        for column in range(count + 1):
            light[row * step : (row + 1) * step, column * step : (column + 1) * step] *= random.uniform(
                0.92, 1.06
            )
    light[np.arange(_SIZE) % step < 3] = 0.72
    light[:, np.arange(_SIZE) % step < 3] = 0.72
    return _fill(base, light)


def _chequered(random: np.random.Generator) -> Array:
    first, second = (
        _tone(random, (226, 222, 212), (200, 70, 60)),
        _tone(random, (70, 74, 84), (232, 226, 214)),
    )
    step = int(random.integers(28, 64))
    y, x = np.mgrid[:_SIZE, :_SIZE]
    odd = ((y // step + x // step) % 2)[..., None]
    return as_bytes((first * odd + second * (1 - odd)) * (1 + 0.03 * _noise(random, 2, 2))[..., None])


def _carpet(random: np.random.Generator) -> Array:
    base = _tone(random, (140, 130, 120), (90, 104, 128), (150, 100, 90), (110, 126, 104))
    return _fill(base, 1 + 0.16 * _noise(random, 0.8, 0.8) + 0.07 * _noise(random, 14, 14))


def _marble(random: np.random.Generator) -> Array:
    base = _tone(random, (226, 224, 220), (70, 72, 78), (196, 186, 170))
    veins = np.abs(_noise(random, 26, 12) + 0.4 * _noise(random, 5, 5))
    return _fill(base, 1.03 - 0.3 * np.exp(-veins * 9) + 0.03 * _noise(random, 30, 30))


def _concrete(random: np.random.Generator) -> Array:
    base = _tone(random, (156, 154, 150), (120, 122, 126), (186, 178, 166))
    return _fill(base, 1 + 0.05 * _noise(random, 24, 24) + 0.04 * _noise(random, 1, 1))


def _grass(random: np.random.Generator) -> Array:
    base = _tone(random, (88, 122, 58), (120, 134, 70))
    return _fill(base, 1 + 0.25 * _noise(random, 0.9, 3) + 0.12 * _noise(random, 12, 12))


def _bricks(random: np.random.Generator) -> Array:
    base = _tone(random, (160, 92, 74), (188, 180, 172), (134, 110, 96))
    light = 1 + 0.07 * _noise(random, 2, 2)
    high, wide = 20, 53
    for row in range(_SIZE // high + 1):
        shift = row % 2 * wide // 2
        for column in range(-1, _SIZE // wide + 1):
            x = column * wide + shift
            light[row * high : (row + 1) * high, max(x, 0) : max(x + wide, 0)] *= random.uniform(0.82, 1.14)
            light[row * high : (row + 1) * high, max(x, 0) : max(x + 3, 0)] = 1.25
        light[row * high : row * high + 3] = 1.25
    return _fill(base, light)


def _cloth(random: np.random.Generator) -> Array:
    base = _tone(random, (210, 200, 184), (110, 128, 150), (170, 100, 100), (222, 218, 212), (84, 96, 84))
    y, x = np.mgrid[:_SIZE, :_SIZE].astype(np.float32)
    folds = 0.1 * _noise(random, 40, 14)
    return _fill(base, 1 + 0.05 * np.sin(x * 1.6) * np.sin(y * 1.6) + folds)


def _striped_cloth(random: np.random.Generator) -> Array:
    first, second = (
        _tone(random, (222, 216, 204), (190, 186, 176)),
        _tone(random, (90, 110, 150), (176, 96, 84), (120, 140, 110)),
    )
    pitch = float(random.uniform(18, 60))
    wave = (np.sin(np.arange(_SIZE) * 2 * np.pi / pitch) > random.uniform(-0.3, 0.6))[:, None, None]
    light = (1 + 0.06 * _noise(random, 30, 12))[..., None]
    return as_bytes(np.where(wave, first, second) * light)


def _terrazzo(random: np.random.Generator) -> Array:
    canvas = _fill(_tone(random, (214, 208, 200), (160, 158, 156)), np.ones((_SIZE, _SIZE), np.float32))
    for _ in range(420):
        at = (int(random.integers(_SIZE)), int(random.integers(_SIZE)))
        axes = (int(random.integers(2, 7)), int(random.integers(1, 5)))
        colour = [
            float(v) for v in _tone(random, (120, 110, 104), (186, 132, 108), (236, 230, 222), (96, 112, 120))
        ]
        cv2.ellipse(canvas, at, axes, float(random.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    return canvas


def _shelf(random: np.random.Generator) -> Array:
    """A shop's shelf or a bookcase, out of focus: upright blocks of many colours."""
    canvas = np.full((_SIZE, _SIZE, 3), 60, np.uint8)
    for row in range(0, _SIZE, 80):
        x = 0
        while x < _SIZE:
            wide = int(random.integers(8, 30))
            tall = int(random.integers(48, 74))
            colour = [float(v) for v in random.integers(30, 225, 3)]
            cv2.rectangle(canvas, (x, row + 76 - tall), (x + wide - 2, row + 75), colour, -1)
            x += wide
        cv2.rectangle(canvas, (0, row + 75), (_SIZE, row + 79), (150, 120, 90), -1)
    return cv2.GaussianBlur(canvas, (0, 0), 1.5)


_KINDS: list[Callable[[np.random.Generator], Array]] = [
    _planks,
    _tiles,
    _carpet,
    _marble,
    _cloth,
    _concrete,
    _striped_cloth,
    _shelf,
    _bricks,
    _grass,
    _chequered,
    _terrazzo,
]
