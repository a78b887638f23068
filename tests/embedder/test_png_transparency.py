"""Transparent is white: every colour type of PNG, at every depth, with every kind of transparency."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from embedder.decoding.decode import decode_image

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGBA: (8, 16)}
KINDS = {
    GREY: ("none", "lowest", "middle", "highest", "unused bits"),
    RGB: ("none", "lowest", "mixed", "highest"),
    PALETTE: ("none", "first", "last", "some opaque", "all", "partly"),
    GREY_ALPHA: ("alpha",),
    RGBA: ("alpha",),
}
ADAM7 = (
    (slice(0, None, 8), slice(0, None, 8)),
    (slice(0, None, 8), slice(4, None, 8)),
    (slice(4, None, 8), slice(0, None, 4)),
    (slice(0, None, 4), slice(2, None, 4)),
    (slice(2, None, 4), slice(0, None, 2)),
    (slice(0, None, 2), slice(1, None, 2)),
    (slice(1, None, 2), slice(0, None, 1)),
)

Samples = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Case:
    """A colour type with samples per pixel, their depth, and a kind of transparency."""

    colour: int
    depth: int
    kind: str
    interlaced: bool

    def __str__(self) -> str:
        return f"{self.colour}-{self.depth}bit-{self.kind}-{'adam7' if self.interlaced else 'rows'}"

    @property
    def highest(self) -> int:
        return (1 << self.depth) - 1


def cases() -> Iterator[Case]:
    for colour, depths in DEPTHS.items():
        for depth in depths:
            for kind in KINDS[colour]:
                for interlaced in (False, True):
                    yield Case(colour, depth, kind, interlaced)


def samples_of(case: Case) -> Samples:
    """``(11, 13, channels)``: random ones, the lowest and highest, neighbours that differ by one."""
    channels = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}[case.colour]
    random = np.random.default_rng(case.depth)
    samples = random.integers(0, case.highest + 1, (11, 13, channels))
    samples[:4, :, 0] = random.choice([0, 1, case.highest // 2, case.highest - 1, case.highest], (4, 13))
    samples[2:4] = samples[2:4, :, :1]  # equal in all channels: grey
    if case.colour in (GREY_ALPHA, RGBA):
        samples[:6, :, -1] = random.choice([0, case.highest], (6, 13))
    if case.colour == RGB:
        samples[4:8] = mixed_colour(case)
        samples[6:8, ::2, 2] += 1  # all but the last bit of the last channel is that of the transparent one
    return samples


def mixed_colour(case: Case) -> tuple[int, int, int]:
    return (0x1234 & case.highest, 0x12FF & case.highest, 0x2134 & case.highest)


def transparent_colour(case: Case) -> tuple[int, ...] | None:
    """The colour that is transparent as a whole; for grey a level."""
    one = {
        "lowest": 0,
        "middle": case.highest // 2,
        "highest": case.highest,
        "unused bits": case.highest // 2,
    }.get(case.kind)
    if case.kind == "mixed":
        return mixed_colour(case)
    if case.colour not in (GREY, RGB) or one is None:
        return None
    return (one,) if case.colour == GREY else (one, one, one)


def palette_of(case: Case) -> tuple[Samples, Samples]:
    """The colours of a palette, and their alpha."""
    count = case.highest + 1
    colours = np.stack([np.arange(count) * step % 256 for step in (83, 151, 37)], axis=-1)
    alpha = {
        "none": [],
        "first": [0],
        "last": [255] * (count - 1) + [0],
        "some opaque": [0, 255][:count],
        "all": [0] * count,
        "partly": [200, 90][:count],
    }[case.kind]
    return colours, np.array(alpha + [255] * (count - len(alpha)))


def png(case: Case, samples: Samples) -> bytes:
    """The file, filtered with nothing."""
    height, width, _ = samples.shape
    header = struct.pack(">IIBBBBB", width, height, case.depth, case.colour, 0, 0, int(case.interlaced))
    chunks = [(b"IHDR", header)]
    if case.colour == PALETTE:
        colours, alpha = palette_of(case)
        chunks.append((b"PLTE", colours.astype(np.uint8).tobytes()))
        if case.kind != "none":
            chunks.append((b"tRNS", alpha.astype(np.uint8).tobytes().rstrip(b"\xff")))
    elif (colour := transparent_colour(case)) is not None:
        unused = 0xFF00 if case.kind == "unused bits" and case.depth <= 8 else 0
        chunks.append((b"tRNS", b"".join(struct.pack(">H", level | unused) for level in colour)))
    passes = ADAM7 if case.interlaced else (np.s_[:, :],)
    rows = b"".join(packed(row, case.depth) for part in passes for row in samples[part])
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def packed(row: Samples, depth: int) -> bytes:
    bits = (row.reshape(-1, 1) >> np.arange(depth - 1, -1, -1)) & 1
    return b"\0" + np.packbits(bits.astype(np.uint8).ravel()).tobytes()


def expected(case: Case, samples: Samples) -> npt.NDArray[np.float64]:
    """``(11, 13, 3)``: the colours over white on the scale 0..255."""
    if case.colour == PALETTE:
        colours, alphas = palette_of(case)
        colour, alpha = colours[samples[..., 0]], alphas[samples] / 255
    else:
        on_scale = samples >> 8 if case.depth == 16 else samples * (255 // case.highest)
        colour = on_scale[..., :3] if case.colour in (RGB, RGBA) else on_scale[..., :1]
        if case.colour in (GREY_ALPHA, RGBA):
            alpha = on_scale[..., -1:] / 255
        else:
            alpha = np.ones((*samples.shape[:2], 1))
            if (transparent := transparent_colour(case)) is not None:
                alpha[(samples == np.array(transparent)).all(axis=-1)] = 0
    return np.broadcast_to(colour * alpha + 255 * (1 - alpha), (*samples.shape[:2], 3))


@pytest.mark.parametrize("case", list(cases()), ids=str)
def test_transparent_is_white_and_nothing_else_changes(case: Case) -> None:
    samples = samples_of(case)
    found = np.asarray(decode_image(png(case, samples)), dtype=np.float64)
    right = expected(case, samples)
    exact = (right == np.round(right)).all(axis=-1)
    np.testing.assert_array_equal(found[exact], right[exact])
    np.testing.assert_allclose(found, right, atol=1)  # partly transparent, with rounding
