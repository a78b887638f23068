"""Leaves of electronics: audio and cameras."""

from __future__ import annotations

from types import SimpleNamespace

from lookalike.synth.geometry import Part, Point, box, disc, flipped, lathe, oval, place, rounded, tube
from lookalike.synth.leaf import FRONTAL, GEAR, Leaf, Pose


def _headphones(p: SimpleNamespace) -> list[Part]:
    band_path: list[Point] = [
        (-0.85, -0.1, 0),
        (-0.86, 0.5, 0),
        (-0.55, 1.0, 0),
        (0, 1.18, 0),
        (0.55, 1.0, 0),
        (0.86, 0.5, 0),
        (0.85, -0.1, 0),
    ]
    wide = {"thin": 0.06, "padded": 0.13, "double": 0.05}[p.band]
    parts = tube(band_path, wide * 0.5, "plain", flat=3.0)
    if p.band == "double":
        parts += place(tube(band_path, 0.05, "plain"), scale=(0.95, 0.88, 1))
    elif p.band == "padded":
        parts += tube([(-0.5, 0.93, 0), (0, 1.08, 0), (0.5, 0.93, 0)], 0.09, "second/leather", flat=2.2)
    deep = 0.85 if p.cup == "oval" else 1.0
    cup = lathe(
        [(0, 0.2), (0.36 * p.size, 0.18), (0.46 * p.size, 0.05), (0.46 * p.size, -0.05)], "main", deep=deep
    )
    pad = lathe(
        [(0.44 * p.size, -0.02), (0.5 * p.size, -0.12), (0.42 * p.size, -0.24), (0.2, -0.24)],
        p.pad,
        deep=deep,
    )
    dot = place(disc(0.2, p.badge), at=(0, 0.195, 0))
    right = place(place(cup + pad + dot, turn=(0, 0, -90)), at=(0.95, -0.25, 0), turn=(0, 22, 0))
    parts += right + flipped(right)
    if p.cable == "wired":
        parts += tube(
            [(-0.95, -0.65, 0), (-0.9, -1.0, 0.1), (-0.4, -1.1, 0.3), (0.1, -1.0, 0.3), (0.5, -1.15, 0.3)],
            0.025,
            "dark",
            up=(0, 0, 1),
        )
    elif p.cable == "microphone":
        parts += tube(
            [(0.95, -0.35, 0.2), (0.75, -0.75, 0.6), (0.35, -0.85, 0.8)],
            [0.03, 0.03, 0.07],
            "dark",
            up=(0, 1, 0),
        )
    return parts


def _speaker(p: SimpleNamespace) -> list[Part]:
    w, h = 0.62 * p.width, 1.0
    parts = (
        box(2 * w, 2 * h, 1.0, "main", side="plain")
        if p.body == "boxy"
        else rounded(2 * w, 2 * h, 1.0, "main", edge=0.4)
    )
    cones = {
        "two": [(0.45, 0.62), (-0.35, 1.0)],
        "three": [(0.68, 0.4), (0.2, 0.5), (-0.45, 0.95)],
        "one": [(-0.1, 1.15)],
    }[p.cones]
    for y, size in cones:
        r = 0.45 * size
        ring = lathe(
            [(r * 1.12, 0), (r * 1.14, 0.04), (r, 0.05), (r * 0.4, -0.02), (r * 0.3, 0.04), (0, 0.08)], p.cone
        )
        parts += place(ring, at=(0, y, 0.5), turn=(90, 0, 0)) + place(
            tube([(x, z, 0) for x, z in oval(2.2 * r, 2.2 * r)], 0.035, p.ring, closed=True), at=(0, y, 0.52)
        )
    if p.foot == "legs":
        parts += [
            q
            for sx in (-1, 1)
            for sz in (-1, 1)
            for q in tube(
                [(sx * w * 0.7, -h, sz * 0.35), (sx * w * 0.85, -h - 0.4, sz * 0.42)],
                0.05,
                "oak/wooden",
                up=(1, 0, 0),
            )
        ]
    return parts + place(rounded(0.28, 0.08, 0.03, "gold/steel"), at=(0, -0.9, 0.51))


def _camera(p: SimpleNamespace) -> list[Part]:
    w = 1.05 * p.width
    parts = rounded(2 * w, 0.95, 0.5, "main", edge=0.3, power=5) + place(
        rounded(2 * w * 0.98, 0.3, 0.48, p.top, edge=0.3, power=5), at=(0, 0.52, 0)
    )
    if p.hump == "prism":
        parts += place(rounded(0.6, 0.36, 0.46, p.top, taper=0.6), at=(p.offset, 0.78, 0))
    elif p.hump == "flash":
        parts += place(rounded(0.4, 0.22, 0.3, "light/glass"), at=(0.55, 0.62, 0.14))
    for r, low, high, paint in (
        (0.46, 0.2, 0.45, "dark"),
        (0.4, 0.4, 0.45 + 0.5 * p.lens, "dark"),
        (0.42, 0.5, 0.56, p.ring),
    ):
        parts += place(
            lathe([(r, high), (r, low)], paint, curved=False), at=(p.offset, 0, 0), turn=(90, 0, 0)
        )
    parts += place(
        lathe([(0.4, 0), (0.3, -0.08), (0, -0.03)], "navy/glass"),
        at=(p.offset, 0, 0.45 + 0.5 * p.lens),
        turn=(90, 0, 0),
    )
    dials = {"one": (-0.7,), "two": (-0.75, 0.75), "three": (-0.8, -0.5, 0.75)}[p.dials]
    for x in dials:
        parts += place(
            lathe([(0, 0.1), (0.13, 0.1), (0.14, 0)], "steel/steel", curved=False), at=(x * p.width, 0.68, 0)
        )
    if p.strap == "strap":
        parts += tube(
            [
                (-w, 0.5, 0),
                (-w - 0.15, 0.1, 0.1),
                (-w * 0.9, -0.62, 0.5),
                (0.2, -0.6, 0.75),
                (w * 0.9, -0.6, 0.5),
                (w + 0.15, 0.1, 0.1),
                (w, 0.5, 0),
            ],
            0.06,
            "second/leather",
            flat=0.4,
            up=(0, 1, 0),
        )
    return parts


LEAVES = [
    Leaf(
        ("Electronics", "Audio", "Headphones"), "headphones", _headphones,
        numbers={"size": (0.85, 1.2)},
        choices={"band": ("thin", "padded", "double"), "cup": ("round", "oval"), "pad": ("dark/leather",
            "second/leather", "tan/leather"), "badge": ("second", "third", "plain", "steel/steel"),
            "cable": ("none", "wired", "microphone")},
        feature="band", colours=GEAR, materials=("plastic", "steel"), patterns=("plain", "plain",
            "two-tone", "banded"), pose=Pose(yaw=(-60, 60), pitch=(0, 24)),
    ),
    Leaf(
        ("Electronics", "Audio", "Speakers"), "speaker", _speaker,
        numbers={"width": (0.75, 1.3)},
        choices={"body": ("boxy", "soft"), "cones": ("one", "two", "three"), "cone": ("dark/rubber",
            "grey/rubber", "mustard/rubber", "light/rubber"), "ring": ("steel/steel", "dark",
            "gold/steel"), "foot": ("none", "legs")},
        feature="body", colours=("walnut", "oak", "black", "white", "teal"), materials=("wooden",
            "plastic"), patterns=("plain", "plain", "two-tone"), pose=FRONTAL,
    ),
    Leaf(
        ("Electronics", "Photo", "Cameras"), "camera", _camera,
        numbers={"width": (0.85, 1.2), "lens": (0.2, 1.2), "offset": (-0.2, 0.2)},
        choices={"hump": ("prism", "flash", "none"), "top": ("steel/steel", "dark", "plain"),
            "ring": ("steel/steel", "red", "gold/steel", "dark"), "dials": ("one", "two", "three"),
            "strap": ("none", "strap")},
        feature="hump", colours=("black", "tan", "charcoal", "red", "mint"), materials=("leather",),
        patterns=("plain",), pose=Pose(yaw=(-48, 48), pitch=(2, 28)),
    ),
]  # fmt: skip
