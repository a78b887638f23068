"""Random changes that keep the product the same: what differs between two photos of one thing."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageEnhance

# Changing any number here changes the features that are cached under this number.
VERSION = 1

_AREA = (0.5, 1.0)
_ASPECT = (3 / 4, 4 / 3)
_STRENGTH = (0.7, 1.3)


def augment(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Crop, mirror and change brightness, contrast and colour of an RGB image at random."""
    width, height = image.size
    area = random.uniform(*_AREA)
    aspect = math.exp(random.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1])))
    across = min(width, max(1, round(width * math.sqrt(area * aspect))))
    down = min(height, max(1, round(height * math.sqrt(area / aspect))))
    left = int(random.integers(0, width - across + 1))
    top = int(random.integers(0, height - down + 1))
    image = image.crop((left, top, left + across, top + down))
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhancer(image).enhance(random.uniform(*_STRENGTH))
    return image
