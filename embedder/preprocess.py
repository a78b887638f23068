"""From the bytes of a picture to the network's input: the one path that train, index and query share.

Every picture that a model sees goes through :func:`preprocess` (training inserts its augmentation between the
same two steps: :func:`decode_for` and :func:`to_input`). A second path would give slightly other pixels and
so slightly other vectors.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedder.decoding.budget import PixelClaim
from embedder.decoding.decode import decode_image, decoded
from embedder.decoding.flatten import STRIP_PIXELS, strips
from embedder.decoding.limits import DEFAULT_LIMITS, DecodeLimits
from embedder.decoding.region import Region
from embedder.framing import object_box
from lookalike import _native

VERSION = 1
"""Raised whenever photos would become other numbers: models and collections then no longer fit."""
MAX_SIZE = 2048
"""Largest side of a network's input; one picture of it takes 48 MiB."""
MIN_CROP_SHARE = 0.1
Fit = Literal["pad_white", "stretch", "crop"]


@dataclass(frozen=True, slots=True)
class PreprocessParams:
    """Everything that decides which numbers a picture becomes; part of a model's identity.

    Attributes:
        size: Side of the square input in pixels.
        mean: Subtracted per RGB channel, on the scale 0..255.
        std: Divides each channel after that, on the same scale.
        interpolation: Filter of the (always antialiased) resize.
        fit: ``pad_white`` keeps the aspect ratio and centres the picture on a white square;
            ``stretch`` ignores the aspect ratio; ``crop`` keeps it and cuts the middle out, as timm's
            evaluation does.
        version: The :data:`VERSION` of this module that they are for.
        crop_share: With ``crop``, the share of the shorter side that is kept (timm's ``crop_pct``).
        crop_to_object: Whether a picture with a border of one colour is first cut to what it shows, see
            :func:`embedder.framing.object_box`.
    """

    size: int = 224
    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    std: tuple[float, float, float] = (128.0, 128.0, 128.0)
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    fit: Fit = "pad_white"
    version: int = VERSION
    crop_share: float = 1.0
    crop_to_object: bool = False

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
        if not MIN_CROP_SHARE <= self.crop_share <= 1:
            raise ValueError(f"crop_share must be {MIN_CROP_SHARE} to 1")

    def stored(self) -> dict[str, Any]:
        """Returns the parameters as models keep them.

        Those that came later are left out where they change nothing: what was made before has its hash.
        """
        return {
            name: value for name, value in asdict(self).items() if name not in _LATER or value != _LATER[name]
        }

    def hash(self) -> str:
        """Returns the SHA-256 (hex) of the parameters' canonical JSON."""
        canonical = json.dumps(self.stored(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


_LATER = {"crop_share": 1.0, "crop_to_object": False}
"""Parameters that the first models did not have, and what those did."""


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
    with decoded(data, limits, region=region, claim=claim, **_needed(params)) as image:
        return to_input(image, params)


def decode_for(data: bytes, params: PreprocessParams) -> Image.Image:
    """Decodes a picture as large as :func:`to_input` has use for.

    Raises:
        InvalidInputError: See :func:`preprocess`.
    """
    return decode_image(data, **_needed(params))


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
    if params.crop_to_object and (box := object_box(image)):
        image = image.crop(box)
    whole = image.width * image.height <= STRIP_PIXELS
    # A large image lies in several blocks of memory, each strip in one.
    pieces = (image,) if whole else (image.crop(strip) for strip in strips(image.size))
    fitted, corner = _placed(image.size, params)
    return _native.square_input(
        iter(pieces),
        image.size,
        fitted,
        corner,
        side=params.size,
        interpolation=params.interpolation,
        mean=params.mean,
        std=params.std,
    )


class _Needed(TypedDict):
    min_side: int
    both_sides: bool


def _needed(params: PreprocessParams) -> _Needed:
    """Returns how large a picture is decoded: twice as large as needed, for the filter of the resize."""
    return {"min_side": 2 * params.size, "both_sides": params.fit == "crop"}


def _placed(size: tuple[int, int], params: PreprocessParams) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns the width and height that a picture of this size is resized to.

    And the column and row of the square that its upper left corner comes to lie at.
    """
    side = params.size
    match params.fit:
        case "stretch":
            return (side, side), (0, 0)
        case "crop":
            # Rounded as torchvision does, which timm's transforms are made of.
            shorter = math.floor(side / params.crop_share)
            longer = int(shorter * max(size) / min(size))
            fitted = (shorter, longer) if size[0] <= size[1] else (longer, shorter)
            return fitted, (-round((fitted[0] - side) / 2), -round((fitted[1] - side) / 2))
        case "pad_white":
            scale = side / max(size)
            width, height = (max(1, min(side, round(length * scale))) for length in size)
            return (width, height), ((side - width) // 2, (side - height) // 2)
