"""The network's input by Pillow's resize and NumPy: the extension is compared with it, in time and bytes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedder.framing import object_box
from embedder.preprocess import PreprocessParams

_WHITE = (255, 255, 255)
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def pillow_input(image: Image.Image, params: PreprocessParams) -> npt.NDArray[np.float32]:
    """Returns what :func:`embedder.preprocess.to_input` does, byte for byte with Pillow 13."""
    channels = np.ascontiguousarray(np.asarray(_square(image, params)).transpose(2, 0, 1)).astype(np.float32)
    channels -= np.asarray(params.mean, dtype=np.float32)[:, None, None]
    channels /= np.asarray(params.std, dtype=np.float32)[:, None, None]
    return channels


def _square(image: Image.Image, params: PreprocessParams) -> Image.Image:
    size, resampling = params.size, _RESAMPLING[params.interpolation]
    if params.crop_to_object and (box := object_box(image)):
        image = image.crop(box)
    if params.fit == "stretch":
        return image.resize((size, size), resampling)
    if params.fit == "crop":
        shorter = int(size / params.crop_share)
        across, down = (max(shorter, int(shorter * side / min(image.size))) for side in image.size)
        left, top = round((across - size) / 2), round((down - size) / 2)
        return image.resize((across, down), resampling).crop((left, top, left + size, top + size))
    scale = size / max(image.size)
    width, height = (max(1, min(size, round(side * scale))) for side in image.size)
    square = Image.new("RGB", (size, size), _WHITE)
    square.paste(image.resize((width, height), resampling), ((size - width) // 2, (size - height) // 2))
    return square
