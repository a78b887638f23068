"""Random changes that keep the product the same: what differs between two photos of one thing.

:func:`vary` changes a picture mildly, for a backbone that stays as it is. :func:`alter` goes further while
the backbone learns too. A studio picture shows the product alone before white, in even light; a buyer's
photo shows it in a place, from an angle, badly lit and compressed: every picture is made to look more
like the other kind by another background, perspective, crop, light, blur and compression.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageStat
from scipy import ndimage

Augmentation = Literal["mild", "strong"]
"""What makes altered copies: :func:`vary` or :func:`alter`."""

# Raised with what the kind's function does: features are cached under it.
VERSIONS: dict[Augmentation, int] = {"mild": 1, "strong": 1}

_STUDIO_WHITE = 235
_BACKGROUND_SHARE = (0.1, 0.95)


def vary(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Crops, mirrors and changes brightness, contrast and colour of an RGB image at random."""
    image = _mirror(_crop(image, 0.5, random), random)
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhancer(image).enhance(random.uniform(0.7, 1.3))
    return image


def alter(image: Image.Image, other: Callable[[], Image.Image], random: np.random.Generator) -> Image.Image:
    """Changes a picture at random, keeping the product.

    Args:
        image: RGB.
        other: Gives another photo, of which a part may become the background.
        random: The source of chance.
    """
    background = studio_background(image)
    if background is None and random.random() < 0.3:
        image = _cut_out(image, random)
    elif background is not None and random.random() < 0.7:
        image = _replace_background(image, background, other, random)
    if random.random() < 0.5:
        image = _perspective(image, random)
    image = _mirror(_crop(image, 0.35, random), random)
    if random.random() < 0.8:
        image = _light(image, random)
    if random.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 2.0)))
    if random.random() < 0.3:
        image = _compress(image, random)
    if random.random() < 0.25:
        image = _cover(image, random)
    return image


def shrunk(image: Image.Image, side: int) -> Image.Image:
    """Returns a picture at most that long and wide: altering more pixels than the network sees costs time."""
    if max(image.size) <= side:
        return image
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return small


def studio_background(image: Image.Image) -> npt.NDArray[np.bool_] | None:
    """Finds the white around a studio picture's product.

    Returns:
        ``(H, W)`` bool, the near-white pixels that are connected with the border; None unless they are
        a fair share of the picture and most of the border.
    """
    red, green, blue = image.split()
    white = np.asarray(ImageChops.darker(ImageChops.darker(red, green), blue)) >= _STUDIO_WHITE
    if _edge(white).mean() < 0.5:
        return None
    parts, count = ndimage.label(white)
    touching = np.zeros(count + 1, dtype=bool)
    touching[_edge(parts)] = True
    touching[0] = False
    outside: npt.NDArray[np.bool_] = touching[parts]
    share = outside.mean()
    return outside if _BACKGROUND_SHARE[0] <= share <= _BACKGROUND_SHARE[1] else None


def _edge(pixels: npt.NDArray[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])


def _cut_out(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Shows the middle of a photo, where the product mostly is, before white as a studio would."""
    width, height = image.size
    centre_x, centre_y = random.uniform(0.4, 0.6, 2)
    radius_x, radius_y = random.uniform(0.3, 0.5, 2)
    roundness = random.uniform(2, 5)  # 2 is an ellipse, more is closer to a box
    across = np.abs((np.arange(width) + 0.5) / width - centre_x) / radius_x
    down = np.abs((np.arange(height) + 0.5) / height - centre_y) / radius_y
    inside = across[None, :] ** roundness + down[:, None] ** roundness < 1
    mask = Image.fromarray(inside.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(2))
    white = int(random.integers(_STUDIO_WHITE, 256))
    return Image.composite(image, Image.new("RGB", image.size, (white, white, white)), mask)


def _replace_background(
    image: Image.Image,
    background: npt.NDArray[np.bool_],
    other: Callable[[], Image.Image],
    random: np.random.Generator,
) -> Image.Image:
    behind = _part_of(other(), image.size, random) if random.random() < 0.5 else _wall(image.size, random)
    # The product's edge is blurred into the white; take that rim away and soften the new one.
    mask = Image.fromarray(ndimage.binary_dilation(background, iterations=1).astype(np.uint8) * 255)
    result = image.copy()
    result.paste(behind, mask=mask.filter(ImageFilter.GaussianBlur(0.7)))
    return result


def _part_of(photo: Image.Image, size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    share = random.uniform(0.3, 0.9)
    width, height = (max(1, round(side * share)) for side in photo.size)
    left = int(random.integers(0, photo.width - width + 1))
    top = int(random.integers(0, photo.height - height + 1))
    return photo.crop((left, top, left + width, top + height)).resize(size, Image.Resampling.BILINEAR)


def _wall(size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """Draws a smooth change of colour with a little noise."""
    corners = random.uniform(0, 255, 3) + random.normal(0, 30, (2, 2, 3))
    small = Image.fromarray(np.clip(corners, 0, 255).astype(np.uint8))
    smooth = np.asarray(small.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    noisy = smooth + random.normal(0, random.uniform(0, 12), (*smooth.shape[:2], 1))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def _perspective(image: Image.Image, random: np.random.Generator) -> Image.Image:
    width, height = image.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=float)
    moved = corners + random.uniform(-0.15, 0.15, (4, 2)) * (width, height)
    rows, values = [], []
    for (x, y), (u, v) in zip(corners, moved, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    matrix = np.linalg.solve(np.array(rows), np.array(values))
    fill = tuple(int(value) for value in np.asarray(image.resize((1, 1), Image.Resampling.BOX))[0, 0])
    return image.transform(
        image.size,
        Image.Transform.PERSPECTIVE,
        tuple(matrix.tolist()),
        Image.Resampling.BILINEAR,
        fillcolor=fill if random.random() < 0.5 else (255, 255, 255),
    )


def _crop(image: Image.Image, smallest: float, random: np.random.Generator) -> Image.Image:
    """Cuts out a part of at least that share of the area."""
    width, height = image.size
    area = random.uniform(smallest, 1.0)
    aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
    across = min(width, max(1, round(width * math.sqrt(area * aspect))))
    down = min(height, max(1, round(height * math.sqrt(area / aspect))))
    left = int(random.integers(0, width - across + 1))
    top = int(random.integers(0, height - down + 1))
    return image.crop((left, top, left + across, top + down))


def _mirror(image: Image.Image, random: np.random.Generator) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


def _light(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Changes saturation, then by a table for each channel contrast, brightness, tint and gamma."""
    image = ImageEnhance.Color(image).enhance(random.uniform(0.5, 1.5))
    mean = float(np.mean(ImageStat.Stat(image).mean)) / 255
    values = np.arange(256, dtype=np.float64) / 255
    values = (values - mean) * random.uniform(0.6, 1.4) + mean * random.uniform(0.6, 1.4)
    channels = values * random.uniform(0.9, 1.1, 3)[:, None]
    channels = np.clip(channels, 0, 1) ** math.exp(random.uniform(-0.3, 0.3))
    return image.point((channels * 255).astype(np.uint8).ravel().tolist())


def _compress(image: Image.Image, random: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(random.integers(25, 85)))
    return Image.open(file).convert("RGB")


def _cover(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Covers a rectangle with one colour, as a hand or a price tag would (random erasing)."""
    width, height = (max(1, round(side * random.uniform(0.1, 0.4))) for side in image.size)
    left = int(random.integers(0, image.width - width + 1))
    top = int(random.integers(0, image.height - height + 1))
    colour = tuple(int(value) for value in random.integers(0, 256, 3))
    result = image.copy()
    result.paste(colour, (left, top, left + width, top + height))
    return result
