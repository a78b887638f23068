"""Fixtures that all tests share."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.local import process
from deploy.local.triton import is_installed
from lookalike.errors import Reason
from tests.tiny_bundle import tiny_bundle_in

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Gives signals their default meaning, in this process and in those that a test starts."""
    with process.default_signals():
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos next to the repository; absent on most machines, required in CI."""
    if not SHARED_DATA.is_dir():
        message = "the real photos (../shared/data) are not on this machine"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return SHARED_DATA


@pytest.fixture(scope="session")
def triton_installed() -> None:
    """Triton's own environment; `make triton-install` makes it, and CI must have it."""
    if not is_installed():
        message = "Triton is not installed; `make triton-install` does it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@dataclass(frozen=True)
class PhotoCase:
    """A file that a user might send, and what must come of it.

    ``refused`` is the reason of the refusal, None where a vector must come back; ``like`` names the
    accepted case that shows the same picture and so must get (nearly) the same vector.
    """

    content: bytes
    refused: Reason | None = None
    like: str = ""


@pytest.fixture(scope="session")
def photo_cases() -> dict[str, PhotoCase]:
    """Good, odd, broken and hostile photos, made on the fly."""
    return {**_accepted_photos(), **_refused_photos()}


def _scene(width: int = 160, height: int = 120) -> Image.Image:
    """A picture without symmetry, smooth enough that JPEG hardly changes it: RGB."""
    y, x = np.mgrid[0:height, 0:width]
    x, y = x / width, y / height
    channels = (x * y, 1 - x, np.where((x > 0.5) & (y > 0.5), 1.0, 0.1))
    return Image.fromarray((np.stack(channels, axis=-1) * 255).astype(np.uint8))


def _file(image: Image.Image, file_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, file_format, **options)
    return out.getvalue()


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG of 8-bit RGB with a declared size and chunks of one's own."""
    header = _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + _png_chunk(b"IEND", b"")


def _accepted_photos() -> dict[str, PhotoCase]:
    scene = _scene()
    grey = scene.convert("L")
    other = scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    lying = Image.Exif()
    lying[0x0112] = 8  # shown after a quarter turn anticlockwise
    wide_grey = Image.fromarray(np.asarray(grey, dtype=np.uint16) * 257)
    cut_out = scene.convert("RGBA")
    cut_out.putalpha(Image.fromarray(np.where(np.asarray(grey) > 128, 255, 0).astype(np.uint8)))
    on_white = Image.alpha_composite(Image.new("RGBA", scene.size, "white"), cut_out).convert("RGB")
    palette = Image.new("P", (160, 120), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(1, (80, 0, 160, 120))
    palette_on_white = Image.new("RGB", (160, 120), "white")
    palette_on_white.paste((0, 0, 255), (80, 0, 160, 120))
    return {
        "png": PhotoCase(_file(scene, "PNG")),
        "jpeg": PhotoCase(_file(scene, "JPEG", quality=95), like="png"),
        "progressive jpeg": PhotoCase(_file(scene, "JPEG", quality=95, progressive=True), like="png"),
        "webp": PhotoCase(_file(scene, "WEBP", quality=95), like="png"),
        "mirrored png": PhotoCase(_file(other, "PNG")),
        "grey png": PhotoCase(_file(grey, "PNG")),
        "grey jpeg": PhotoCase(_file(grey, "JPEG", quality=95), like="grey png"),
        "16-bit png": PhotoCase(_file(wide_grey, "PNG"), like="grey png"),
        "cmyk jpeg": PhotoCase(_file(scene.convert("CMYK"), "JPEG", quality=95), like="png"),
        "exif-rotated jpeg": PhotoCase(
            _file(scene.transpose(Image.Transpose.ROTATE_270), "JPEG", quality=95, exif=lying), like="png"
        ),
        "cut-out png": PhotoCase(_file(cut_out, "PNG"), like="cut-out on white"),
        "cut-out on white": PhotoCase(_file(on_white, "PNG")),
        "transparent palette png": PhotoCase(_file(palette, "PNG", transparency=0), like="palette on white"),
        "palette on white": PhotoCase(_file(palette_on_white, "PNG")),
        "animated webp": PhotoCase(
            _file(scene, "WEBP", quality=95, save_all=True, append_images=[other], duration=100), like="png"
        ),
        "animated gif": PhotoCase(
            _file(scene, "GIF", save_all=True, append_images=[other], duration=100), like="png"
        ),
        "one pixel": PhotoCase(_file(Image.new("RGB", (1, 1), "red"), "PNG")),
        "one line": PhotoCase(_file(Image.new("RGB", (4000, 1), "red"), "PNG")),
        "100 megapixels": PhotoCase(_file(Image.new("L", (12_500, 8_000), 90), "JPEG", quality=50)),
    }


def _refused_photos() -> dict[str, PhotoCase]:
    scene = _scene()
    png, jpeg = _file(scene, "PNG"), _file(scene, "JPEG")
    damaged = bytearray(png)
    damaged[png.index(b"IDAT") + 4] ^= 0xFF  # the first byte of the compressed pixels
    empty_rows = _png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    huge_text = _png_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(1 << 27), 9))
    frame = jpeg.index(b"\xff\xc0")
    huge_jpeg = jpeg[: frame + 5] + struct.pack(">HH", 65_000, 65_000) + jpeg[frame + 9 :]
    heic = struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(200)
    return {
        "empty": PhotoCase(b"", Reason.IMAGE_EMPTY),
        "text": PhotoCase(b"This is not a photo.\n" * 40, Reason.IMAGE_FORMAT_UNSUPPORTED),
        "svg": PhotoCase(b'<svg xmlns="http://www.w3.org/2000/svg"/>', Reason.IMAGE_FORMAT_UNSUPPORTED),
        "bmp": PhotoCase(_file(scene, "BMP"), Reason.IMAGE_FORMAT_UNSUPPORTED),
        "tiff": PhotoCase(_file(scene, "TIFF"), Reason.IMAGE_FORMAT_UNSUPPORTED),
        "heic": PhotoCase(heic, Reason.IMAGE_FORMAT_UNSUPPORTED),
        "avif": PhotoCase(_file(scene, "AVIF"), Reason.IMAGE_FORMAT_UNSUPPORTED),
        "truncated jpeg": PhotoCase(jpeg[: len(jpeg) // 2], Reason.IMAGE_DAMAGED),
        "jpeg signature alone": PhotoCase(jpeg[:4], Reason.IMAGE_DAMAGED),
        "truncated png": PhotoCase(png[: len(png) // 2], Reason.IMAGE_DAMAGED),
        "damaged png": PhotoCase(bytes(damaged), Reason.IMAGE_DAMAGED),
        "truncated webp": PhotoCase(_file(scene, "WEBP")[:60], Reason.IMAGE_DAMAGED),
        "png without pixels": PhotoCase(_png(0, 0, empty_rows), Reason.IMAGE_DAMAGED),
        "png text bomb": PhotoCase(_png(8, 8, huge_text, empty_rows), Reason.IMAGE_DAMAGED),
        "png bomb": PhotoCase(_png(50_000, 50_000, empty_rows), Reason.IMAGE_TOO_MANY_PIXELS),
        "jpeg bomb": PhotoCase(huge_jpeg, Reason.IMAGE_TOO_MANY_PIXELS),
        "large file": PhotoCase(jpeg + bytes(12 << 20), Reason.IMAGE_TOO_LARGE),
    }


@pytest.fixture(scope="session")
def make_tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes real model bundles whose network is tiny: ``make(categories=..., seed=...)`` → folder."""
    return lambda **options: tiny_bundle_in(tmp_path_factory.mktemp("bundle"), **options)


@pytest.fixture(scope="session")
def tiny_bundle(make_tiny_bundle: Callable[..., Path]) -> Path:
    """The folder of a real model bundle that embeds into 16 dimensions, in a fraction of a millisecond."""
    return make_tiny_bundle()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was synced, by its name at that moment."""
    paths: list[Path] = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        paths.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return paths
