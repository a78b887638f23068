"""Leaves of the home: lighting, decoration, textiles."""

from __future__ import annotations

import math
from types import SimpleNamespace

from lookalike.synth.geometry import (
    Part,
    Point,
    ball,
    box,
    disc,
    lathe,
    oval,
    panel,
    place,
    sheet,
    slab,
    tube,
)
from lookalike.synth.leaf import HANGING, SIMPLE, SOFT, WOVEN, Leaf, Pose

_SHADES: dict[str, list[Point]] = {
    "cone": [(0.4, 0.5), (0.62, 0), (0.85, -0.5)],
    "drum": [(0.72, 0.42), (0.74, 0), (0.76, -0.42)],
    "dome": [(0.1, 0.5), (0.5, 0.4), (0.76, 0.05), (0.84, -0.4)],
    "bell": [(0.3, 0.55), (0.4, 0.2), (0.58, -0.2), (0.95, -0.5)],
    "globe": [(0.2, 0.6), (0.55, 0.4), (0.68, 0), (0.55, -0.4), (0.25, -0.58)],
}


def _shade(kind: str, wide: float) -> list[Part]:
    profile = [(r * wide, y) for r, y in _SHADES[kind]]
    inner = [(r - 0.03, y) for r, y in profile]
    return lathe(profile, printed=True) + lathe(inner, "cream/paper")


def _table_lamp(p: SimpleNamespace) -> list[Part]:
    bases: dict[str, list[Point]] = {
        "ball": [(0.1, 0.5), (0.14, 0.35), (0.5, 0), (0.3, -0.42), (0.42, -0.5)],
        "bottle": [(0.1, 0.6), (0.12, 0.3), (0.36, 0), (0.42, -0.4), (0.36, -0.55)],
        "column": [(0.1, 0.6), (0.1, 0.1), (0.1, -0.4), (0.45, -0.46), (0.48, -0.54)],
        "stacked": [(0.12, 0.6), (0.3, 0.42), (0.12, 0.24), (0.38, 0.0), (0.14, -0.24), (0.46, -0.5)],
        "cone": [(0.08, 0.6), (0.14, 0.3), (0.3, -0.2), (0.48, -0.52)],
    }
    stem = 0.9 * p.height
    base = [(r, y * p.height) for r, y in bases[p.base]]
    rod = tube([(0, 0.5 * p.height, 0), (0, stem + 0.2, 0)], 0.035, "gold/steel", up=(1, 0, 0))
    return (
        lathe(base, p.stand)
        + disc(base[-1][0], "dark", y=base[-1][1])
        + rod
        + place(_shade(p.shade, p.width), at=(0, stem + 0.35, 0))
    )


def _pendant(p: SimpleNamespace) -> list[Part]:
    cord = tube([(0, 0.5, 0), (0, 1.4 + p.drop, 0)], 0.025, "dark", up=(1, 0, 0))
    cap = lathe([(0.06, 0.75), (0.16, 0.68), (0.18, 0.45)], "gold/steel")
    bulb = place(ball(0.24, "cream/glass"), at=(0, -0.35, 0)) if p.bulb == "visible" else []
    rose = place(lathe([(0.02, 0.1), (0.2, 0.0)], "second"), at=(0, 1.4 + p.drop, 0))
    return _shade(p.shade, p.width) + cord + cap + bulb + rose


def _vase(p: SimpleNamespace) -> list[Part]:
    bodies: dict[str, list[Point]] = {
        "bottle": [(0.22, 1), (0.2, 0.6), (0.32, 0.2), (0.62, -0.3), (0.55, -0.8), (0.36, -1)],
        "amphora": [(0.34, 1), (0.22, 0.78), (0.58, 0.4), (0.5, -0.2), (0.28, -0.8), (0.34, -1)],
        "cylinder": [(0.42, 1), (0.42, 0.4), (0.42, -0.4), (0.42, -1)],
        "trumpet": [(0.62, 1), (0.32, 0.5), (0.22, -0.2), (0.26, -0.7), (0.42, -1)],
        "gourd": [(0.24, 1), (0.38, 0.66), (0.24, 0.3), (0.62, -0.25), (0.56, -0.8), (0.34, -1)],
        "urn": [(0.5, 1), (0.42, 0.86), (0.7, 0.4), (0.62, -0.2), (0.34, -0.85), (0.4, -1)],
    }
    body = [(r * p.width, y) for r, y in bodies[p.body]]
    parts = lathe(body, printed=True) + lathe([(r - 0.04, y) for r, y in body[:3]], "charcoal")
    if p.ears == "handles":
        ear = tube(
            [
                (0.25 * p.width, 0.75, 0),
                (0.75 * p.width, 0.7, 0),
                (0.75 * p.width, 0.25, 0),
                (0.45 * p.width, 0.1, 0),
            ],
            0.06,
            "second",
        )
        parts += ear + place(ear, turn=(0, 180, 0))
    return parts


def _clock(p: SimpleNamespace) -> list[Part]:
    power = {"round": 2.0, "square": 7.0, "squircle": 3.2}[p.frame]
    parts = slab(oval(2, 2, power=power), 0.12, "light/paper", side="main")
    parts += tube([(x, y, 0.06) for x, y in oval(2, 2, power=power)], p.rim, "main", closed=True, flat=0.9)
    for hour in range(12):
        if p.marks == "quarters" and hour % 3:
            continue
        angle = math.tau * hour / 12
        size = (0.035, 0.1) if p.marks != "dots" else (0.05, 0.05)
        mark = (
            panel(2 * size[0], 2 * size[1], "third/paper")
            if p.marks != "dots"
            else place(disc(0.06, "third/paper"), turn=(90, 0, 0))
        )
        parts += place(
            mark,
            at=(0.78 * math.sin(angle), 0.78 * math.cos(angle), 0.075),
            turn=(0, 0, -math.degrees(angle)),
        )
    for reach, width, turn in ((0.45, p.hand, -62.0), (0.68, p.hand * 0.75, 48.0)):
        hand: list[Point] = [
            (-width, -0.12),
            (width, -0.12),
            (width if p.hands == "straight" else 0.01, reach),
            (-width if p.hands == "straight" else -0.01, reach),
        ]
        parts += place(slab(hand, 0.01, p.ink), at=(0, 0, 0.1), turn=(0, 0, turn))
    return parts + place(ball(0.06, p.ink), at=(0, 0, 0.1))


def _picture(p: SimpleNamespace) -> list[Part]:
    w, h, t = 0.75 * p.wide, 1.0, p.border
    rails = [
        ((0, h - t / 2), (2 * w, t)),
        ((0, t / 2 - h), (2 * w, t)),
        ((w - t / 2, 0), (t, 2 * h)),
        ((t / 2 - w, 0), (t, 2 * h)),
    ]
    parts = [
        q
        for (x, y), (a, b) in rails
        for q in place(box(a, b, 0.14, "oak/wooden" if p.frame == "oak" else p.frame), at=(x, y, 0))
    ]
    mat = {"wide": 0.24, "narrow": 0.1, "no": 0.0}[p.mount]
    return (
        parts
        + panel(2 * w - t, 2 * h - t, "light/paper")
        + place(panel(2 * (w - t - mat), 2 * (h - t - mat), printed=True), at=(0, 0, 0.02))
    )


def _cushion(p: SimpleNamespace) -> list[Part]:
    power = {"square": 6.0, "round": 2.0, "oblong": 6.0}[p.shape]
    height = 1.25 if p.shape == "oblong" else 2.0
    shape = oval(2, height, power=power)
    parts = sheet(shape, p.plump, bevel=1.0, creases=0.008, printed=True)
    if p.edge == "piped":
        parts += tube([(x, y, 0) for x, y in shape], 0.05, "second", closed=True)
    elif p.edge == "tasselled":
        for x, y in (
            oval(2.0, height, power=power, count=4 if p.shape != "round" else 10)
            if p.shape == "round"
            else [(sx * 0.93, sy * height * 0.46) for sx in (-1, 1) for sy in (-1, 1)]
        ):
            parts += place(
                tube(
                    [(0, 0, 0), (0.12 * x, 0.12 * y, 0), (0.3 * x, 0.3 * y, 0)], [0.05, 0.07, 0.1], "second"
                ),
                at=(x, y, 0),
            )
    if p.button == "buttoned":
        parts += place(ball(0.09, "third"), at=(0, 0, p.plump * 0.95))
    return parts


LEAVES = [
    Leaf(
        ("Home", "Lighting", "Table lamps"), "table lamp", _table_lamp,
        numbers={"height": (0.75, 1.3), "width": (0.75, 1.2)},
        choices={"shade": ("cone", "drum", "dome", "bell"), "base": ("ball", "bottle", "column",
            "stacked", "cone"), "stand": ("second/ceramic", "oak/wooden", "gold/steel",
            "third/ceramic")},
        feature="base", colours=SOFT, materials=("linen", "paper"), patterns=WOVEN, prints=0.15,
    ),
    Leaf(
        ("Home", "Lighting", "Pendant lamps"), "pendant lamp", _pendant,
        numbers={"width": (0.7, 1.3), "drop": (0.0, 1.0)},
        choices={"shade": tuple(_SHADES), "bulb": ("visible", "hidden")},
        feature="shade", colours=("black", "white", "copper", "teal", "mustard"), materials=("enamel",
            "steel", "paper"), patterns=("plain", "banded", "vertical-striped", "two-tone", "dotted"),
        pose=Pose(pitch=(-20, 12), rest="wall"),
    ),
    Leaf(
        ("Home", "Decoration", "Vases"), "vase", _vase,
        numbers={"width": (0.75, 1.25)},
        choices={"body": ("bottle", "amphora", "cylinder", "trumpet", "gourd", "urn"), "ears": ("none",
            "none", "handles")},
        feature="body", colours=SOFT, materials=("ceramic", "glass"), patterns=(*SIMPLE, "floral",
            "leafy", "wavy", "chevron"), prints=0.25, glyph_size=0.3,
    ),
    Leaf(
        ("Home", "Decoration", "Wall clocks"), "wall clock", _clock,
        numbers={"rim": (0.06, 0.16), "hand": (0.03, 0.06)},
        choices={"frame": ("round", "square", "squircle"), "marks": ("bars", "dots", "quarters"),
            "hands": ("straight", "pointed"), "ink": ("dark", "main", "second")},
        feature="frame", colours=("black", "oak", "gold", "red", "teal"), materials=("plastic", "wooden",
            "steel"), pose=HANGING,
    ),
    Leaf(
        ("Home", "Decoration", "Framed prints"), "framed print", _picture,
        numbers={"wide": (0.8, 1.3), "border": (0.08, 0.16)},
        choices={"frame": ("black", "white", "oak", "gold/steel"), "mount": ("wide", "narrow", "no")},
        feature="mount", colours=("cream", "sky", "mustard", "teal", "white", "coral"),
        materials=("paper",), patterns=("plain", "two-tone", "wavy", "diagonal-striped", "speckled",
            "leafy"), prints=1.0, words=0.2, glyph_size=0.5, pose=HANGING,
    ),
    Leaf(
        ("Home", "Textiles", "Cushions"), "cushion", _cushion,
        numbers={"plump": (0.25, 0.5)},
        choices={"shape": ("square", "round", "oblong"), "edge": ("plain", "piped", "tasselled"),
            "button": ("none", "buttoned")},
        feature="edge", colours=SOFT, materials=("cotton", "linen", "wool"), patterns=(*WOVEN, "argyle",
            "leafy", "diamonds"), prints=0.4, words=0.1, glyph_size=0.5, pose=Pose(yaw=(-40, 40),
            pitch=(-5, 30), roll=(-14, 14)),
    ),
]  # fmt: skip
