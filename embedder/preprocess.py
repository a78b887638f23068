"""From the bytes of a picture to the network's input: the one path that train, index and query share.

Every picture that a model sees goes through :func:`preprocess` (training inserts its augmentation
between the same three steps: :func:`decode_image`, :func:`fit_square`, :func:`to_tensor`). A second
path would give slightly other pixels and so slightly other vectors.

Pillow's process-wide switches are left alone: the decoders are called directly, so neither
``Image.MAX_IMAGE_PIXELS`` nor its warnings apply, and :class:`DecodeLimits` bounds the work instead,
from the header, before any pixel is decoded.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from embedder import jpeg
from lookalike.errors import InvalidInputError, LookalikeError, Reason
from lookalike.limits import MAX_IMAGE_BYTES

ACCEPTED_FORMATS = "JPEG, PNG, WebP or GIF"
VERSION = 1
"""Raised whenever this module would turn the same bytes into other numbers."""
MAX_SIZE = 2048
"""Largest side of a network's input; one picture of it takes 48 MiB."""

_WHITE = (255, 255, 255)
_ROTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

Region = tuple[float, float, float, float]
"""A box ``(x0, y0, x1, y1)``: shares of width and height in 0..1, of the picture as it is displayed."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one picture may cost.

    Attributes:
        max_bytes: Size of the file.
        max_pixels: Pixels of a picture that is decoded at full size, and of a scaled JPEG's result.
        max_jpeg_pixels: Pixels that a JPEG may declare if it decodes in one pass, because the decoder
            then scales while it reads and never holds the full picture.
        max_jpeg_scan_pixels: Pixels times passes of a JPEG that needs several (progressive) passes.
    """

    max_bytes: int = MAX_IMAGE_BYTES
    max_pixels: int = 64_000_000
    max_jpeg_pixels: int = 210_000_000
    max_jpeg_scan_pixels: int = 2_000_000_000


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
        """Refuse what no picture can be prepared with, or only by another release.

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
        """Return the SHA-256 (hex) of the parameters' canonical JSON."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


DEFAULT_LIMITS = DecodeLimits()


def preprocess(
    data: bytes,
    params: PreprocessParams,
    region: Region | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> npt.NDArray[np.float32]:
    """Turn the bytes of one picture into the network's input.

    Args:
        data: A JPEG, PNG, WebP or GIF file; of an animation the first frame counts.
        params: The model's parameters.
        region: The part of the picture to look at; the whole picture by default.
        limits: Bounds on size and decoding work.

    Returns:
        ``(3, size, size)`` float32, RGB, C-contiguous, ``(x - mean) / std`` of x in 0..255.

    Raises:
        InvalidInputError: The file is empty, too large, damaged or of another format, or the region
            is not a box within the picture. Its ``reason`` says which.
    """
    image = decode_image(data, limits, min_side=2 * params.size, region=region)
    return to_tensor(fit_square(image, params), params)


def decode_image(
    data: bytes,
    limits: DecodeLimits = DEFAULT_LIMITS,
    *,
    min_side: int | None = None,
    region: Region | None = None,
) -> Image.Image:
    """Decode a picture to upright RGB: EXIF rotation applied, transparency over white, ICC ignored.

    Args:
        data: The file.
        limits: Bounds on size and decoding work.
        min_side: Longest side that the caller needs, in pixels. A larger JPEG may come back scaled
            down by 2, 4 or 8, never below this. None decodes at full size.
        region: The part of the picture to return; the whole picture by default.

    Returns:
        A Pillow image of mode ``RGB``, at least 1x1.

    Raises:
        InvalidInputError: See :func:`preprocess`.
    """
    if region is not None:
        _check_region(region)
    kind = _sniff(data, limits)
    try:
        image, orientation = _open(kind, data, limits, min_side, region)
        rgb = _to_rgb(image)
    except LookalikeError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen unrelated types on hostile bytes
        raise InvalidInputError(
            f"the {kind} file is damaged or incomplete and cannot be decoded", reason=Reason.IMAGE_DAMAGED
        ) from error
    if orientation in _ROTATIONS:
        rgb = rgb.transpose(_ROTATIONS[orientation])
    return rgb if region is None else rgb.crop(_pixel_box(region, rgb.size))


def fit_square(image: Image.Image, params: PreprocessParams) -> Image.Image:
    """Resize an RGB image to ``params.size`` squared, the way ``params.fit`` says."""
    resampling = _RESAMPLING[params.interpolation]
    if params.fit == "stretch":
        return image.resize((params.size, params.size), resampling)
    scale = params.size / max(image.size)
    width, height = (max(1, min(params.size, round(side * scale))) for side in image.size)
    square = Image.new("RGB", (params.size, params.size), _WHITE)
    square.paste(
        image.resize((width, height), resampling), ((params.size - width) // 2, (params.size - height) // 2)
    )
    return square


def to_tensor(image: Image.Image, params: PreprocessParams) -> npt.NDArray[np.float32]:
    """Normalise an RGB image of the right size: ``(3, H, W)`` float32, C-contiguous."""
    # Channels first before the arithmetic: along the last axis of three it takes twelve times as long.
    channels = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)).astype(np.float32)
    channels -= np.asarray(params.mean, dtype=np.float32)[:, None, None]
    channels /= np.asarray(params.std, dtype=np.float32)[:, None, None]
    return channels


def _sniff(data: bytes, limits: DecodeLimits) -> str:
    """Name the file's format from its first bytes, or refuse it."""
    if not data:
        raise InvalidInputError(
            f"the image is empty; send the bytes of a {ACCEPTED_FORMATS} file", reason=Reason.IMAGE_EMPTY
        )
    if len(data) > limits.max_bytes:
        raise InvalidInputError(
            f"the image has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted",
            reason=Reason.IMAGE_TOO_LARGE,
            metadata={"max_bytes": str(limits.max_bytes)},
        )
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    named = ""
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        named = (
            "AVIF "
            if brand in (b"avif", b"avis")
            else "HEIC/HEIF "
            if brand[:2] in (b"he", b"mi", b"ms")
            else ""
        )
    raise InvalidInputError(
        f"the {named}file is not of a supported format; send {ACCEPTED_FORMATS}",
        reason=Reason.IMAGE_FORMAT_UNSUPPORTED,
    )


def _open(
    kind: str, data: bytes, limits: DecodeLimits, min_side: int | None, region: Region | None
) -> tuple[Image.Image, int]:
    """Open and load a picture within the limits; return it with its EXIF orientation (1: upright)."""
    if kind == "JPEG":
        return _open_jpeg(data, limits, min_side, region)
    plugin: Callable[[io.BytesIO], ImageFile.ImageFile] = {
        "PNG": PngImagePlugin.PngImageFile,
        "WebP": WebPImagePlugin.WebPImageFile,
        "GIF": GifImagePlugin.GifImageFile,
    }[kind]
    image = plugin(io.BytesIO(data))
    _check_pixels(image.size, limits.max_pixels)
    image.load()
    return image, _orientation(image.info.get("exif", b""))


def _open_jpeg(
    data: bytes, limits: DecodeLimits, min_side: int | None, region: Region | None
) -> tuple[Image.Image, int]:
    header = jpeg.read_header(data)
    if header is None:
        raise InvalidInputError("the JPEG file has no valid header", reason=Reason.IMAGE_DAMAGED)
    _check_pixels(header.size, limits.max_jpeg_pixels if header.one_pass else limits.max_pixels)
    if not header.one_pass:
        passes = data.count(b"\xff\xda")
        _check_pixels((header.size[0] * passes, header.size[1]), limits.max_jpeg_scan_pixels)
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(header.without_metadata))
    orientation = _orientation(header.exif)
    if min_side is not None:
        image.draft(None, _draft_size(image.size, min_side, region, orientation, limits.max_pixels))
    _check_pixels(image.size, limits.max_pixels)
    image.load()
    return image, orientation


def _draft_size(
    size: tuple[int, int], min_side: int, region: Region | None, orientation: int, max_pixels: int
) -> tuple[int, int]:
    """Return the smallest size to decode a JPEG at such that the region's longest side keeps ``min_side``."""
    width, height = size
    across, down = (1.0, 1.0) if region is None else (region[2] - region[0], region[3] - region[1])
    if orientation >= 5:  # the stored picture lies on its side
        across, down = down, across
    scale = min(1.0, min_side / max(1.0, width * across, height * down))
    # The decoder's next step up has at most twice the sides asked for, so four times the pixels.
    scale = min(scale, math.sqrt(max_pixels / (4.0 * width * height)))
    return max(1, int(width * scale)), max(1, int(height * scale))


def _orientation(exif: bytes) -> int:
    if not exif:
        return 1
    tags = Image.Exif()
    try:
        tags.load(exif)
        value = tags.get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata must not cost a readable picture
        return 1
    return value if isinstance(value, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips at 255
        grey = np.clip(np.asarray(image, dtype=np.int64), 0, 65535) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (*_WHITE, 255)), rgba).convert("RGB")
    return image.convert("RGB")


def _check_pixels(size: tuple[int, int], limit: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise InvalidInputError("the image has no pixels", reason=Reason.IMAGE_DAMAGED)
    if width * height > limit:
        raise InvalidInputError(
            f"the image needs {width * height:,} pixels to be decoded; at most {limit:,} are accepted",
            reason=Reason.IMAGE_TOO_MANY_PIXELS,
            metadata={"max_pixels": str(limit)},
        )


def _check_region(region: Region) -> None:
    x0, y0, x1, y1 = region
    if not (all(math.isfinite(side) for side in region) and 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise InvalidInputError(
            "the region must be a box with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1",
            reason=Reason.REGION_INVALID,
        )


def _pixel_box(region: Region, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Round the box to pixels, outwards, so that it always holds at least one."""
    width, height = size
    left, top = min(width - 1, int(region[0] * width)), min(height - 1, int(region[1] * height))
    right, bottom = math.ceil(region[2] * width), math.ceil(region[3] * height)
    return left, top, max(left + 1, min(width, right)), max(top + 1, min(height, bottom))
