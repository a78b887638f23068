"""The camera's part of a photo: light that falls off, colour cast, exposure, blur and noise."""

from __future__ import annotations

import cv2
import numpy as np

from lookalike.synth.geometry import Array, as_bytes
from lookalike.synth.styles import Style


def develop(picture: Array, style: Style, grain: Array, random: np.random.Generator) -> Array:
    """Turns light into a photo: uneven and tinted light, exposure, blur, noise.

    Args:
        picture: Light, (S, S, 3) float32 in 0..255.
        style: The kind of photo.
        grain: Standard normal noise to cut the sensor's from, (G, G, 3) float32 with G > S.
        random: Source of all choices.

    Returns:
        The photo, (S, S, 3) uint8.
    """
    size = picture.shape[0]
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    angle = random.uniform(0, 2 * np.pi)
    fall = random.uniform(0, style.unevenness)
    light = 1 - fall * (0.5 + x * np.cos(angle) + y * np.sin(angle)) - 0.4 * fall * (x**2 + y**2)
    gain = random.uniform(*style.exposure) * (
        1 + random.uniform(-style.tint, style.tint) * np.array([1, 0.1, -1])
    )
    gain = gain * (1 + random.uniform(-style.tint / 3, style.tint / 3, 3))
    lit = picture * light[..., None].astype(np.float32) * (gain / 255).astype(np.float32)
    lit = np.clip(lit, 0, 1) ** np.float32(random.uniform(1 - 2 * style.tint, 1 + 1.2 * style.tint))
    grey = lit.mean(axis=2, keepdims=True)
    lit = grey + (lit - grey) * np.float32(random.uniform(1 - 2 * style.tint, 1 + style.tint))
    blur = random.uniform(0, style.blur) * size / 224
    if blur > 0.25:
        lit = _smear(lit, blur, random) if random.random() < 0.3 else cv2.GaussianBlur(lit, (0, 0), blur)
    top, left = random.integers(0, len(grain) - size, 2)
    piece = grain[top : top + size, left : left + size]
    return as_bytes(lit * 255 + piece * np.float32(random.uniform(0, style.noise)))


def _smear(picture: Array, reach: float, random: np.random.Generator) -> Array:
    """Blurs along a line, as a moving camera does."""
    side = 2 * max(1, round(reach * 1.6)) + 1
    kernel = np.zeros((side, side), np.float32)
    angle = random.uniform(0, np.pi)
    middle = side // 2
    offset = np.array([np.cos(angle), np.sin(angle)]) * middle
    ends = [(round(middle + s * offset[0]), round(middle + s * offset[1])) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return cv2.filter2D(picture, -1, kernel / kernel.sum())
