"""From the bytes of a picture to the network's input: the one path that train, index and query share.

Every picture that a model sees goes through :func:`preprocess` (training inserts its augmentation between the
same two steps: :func:`embedder.decoding.decode.decode_image` and :func:`to_input`). A second path would give
slightly other pixels and so slightly other vectors.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedder.decoding.budget import PixelClaim
from embedder.decoding.decode import decoded
from embedder.decoding.flatten import STRIP_PIXELS, strips
from embedder.decoding.limits import DEFAULT_LIMITS, DecodeLimits
from embedder.decoding.region import Region
from lookalike import _native

VERSION = 1
"""Raised whenever photos would become other numbers: models and collections then no longer fit."""
MAX_SIZE = 2048
"""Largest side of a network's input; one picture of it takes 48 MiB."""


@dataclass(frozen=True, slots=True)
class PreprocessParams:
    """Everything that decides which numbers a picture becomes; part of a model's identity.

    Attributes:
        size: Side of the square input in pixels.
        mean: Subtracted per RGB channel, on the scale 0..255.
        std: Divides each channel after that, on the same scale.
        interpolation: Filter of the (always antialiased) resize.
        fit: ``pad_white`` keeps the aspect ratio and centres the picture on a white square;
            ``stretch`` ignores the aspect ratio.
        version: The :data:`VERSION` of this module that they are for.
    """

    size: int = 224
    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    std: tuple[float, float, float] = (128.0, 128.0, 128.0)
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    fit: Literal["pad_white", "stretch"] = "pad_white"
    version: int = VERSION

    def check(self) -> None:
        """Refuses what no picture can be prepared with, or only by another release.

        Raises:
            ValueError: It says which, and what would be right.
        """
        if self.version > VERSION:
            raise ValueError(
                f"preprocessing of version {self.version} was made by a newer release of Lookalike, and this "
                f"one knows version {VERSION}"
            )
        if self.version != VERSION:
            raise ValueError(f"preprocessing has version {self.version}; it must be {VERSION}")
        if not 1 <= self.size <= MAX_SIZE:
            raise ValueError(f"pictures of size {self.size} are out of range; it must be 1 to {MAX_SIZE}")
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise ValueError("mean and std must be finite numbers, and std above 0")

    def hash(self) -> str:
        """Returns the SHA-256 (hex) of the parameters' canonical JSON."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def preprocess(
    data: bytes,
    params: PreprocessParams,
    region: Region | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
    claim: PixelClaim | None = None,
) -> npt.NDArray[np.float32]:
    """Turns the bytes of one picture into the network's input.

    Args:
        data: A JPEG, PNG, WebP or GIF file; of an animation the first frame counts.
        params: The model's parameters.
        region: The part of the picture to look at; the whole picture by default.
        limits: Bounds on size and decoding work.
        claim: The picture's claim on a budget of pixels; on that of the process by default.

    Returns:
        ``(3, size, size)`` float32, RGB, C-contiguous, ``(x - mean) / std`` of x in 0..255.

    Raises:
        InvalidInputError: The file is empty, too large, damaged or of another format, or the region
            is not a box within the picture. Its ``reason`` says which.
        WithdrawnError: The claim was withdrawn before its turn.
    """
    with decoded(data, limits, min_side=2 * params.size, region=region, claim=claim) as image:
        return to_input(image, params)


def to_input(image: Image.Image, params: PreprocessParams) -> npt.NDArray[np.float32]:
    """Resizes a picture the way ``params.fit`` says, and normalises it.

    The extension does this without the GIL. Its bytes are those of Pillow's own resize, which is several
    times slower (ADR 19).

    Args:
        image: RGB; nobody writes to it meanwhile.
        params: The model's parameters.

    Returns:
        ``(3, size, size)`` float32, C-contiguous.
    """
    whole = image.width * image.height <= STRIP_PIXELS
    # A large image lies in several blocks of memory, each strip in one.
    pieces = (image,) if whole else (image.crop(strip) for strip in strips(image.size))
    return _native.square_input(
        iter(pieces),
        image.size,
        _fitted(image.size, params),
        side=params.size,
        interpolation=params.interpolation,
        mean=params.mean,
        std=params.std,
    )


def _fitted(size: tuple[int, int], params: PreprocessParams) -> tuple[int, int]:
    """Returns the width and height that a picture of this size is resized to."""
    if params.fit == "stretch":
        return params.size, params.size
    scale = params.size / max(size)
    width, height = (max(1, min(params.size, round(side * scale))) for side in size)
    return width, height
