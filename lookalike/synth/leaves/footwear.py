"""Leaves of footwear."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from lookalike.synth.geometry import (
    Array,
    Part,
    Point,
    ball,
    lathe,
    place,
    rounded,
    sheet,
    slab,
    smooth,
    tube,
)
from lookalike.synth.leaf import CLOTH, GEAR, Leaf, Pose


def _sole_outline(wide: float = 1.0) -> Array:
    """A foot's outline seen from above: heel at x = -1, toe at x = 1.2."""
    half: list[Point] = [
        (-1.02, 0),
        (-0.95, 0.26),
        (-0.4, 0.32),
        (0.2, 0.36),
        (0.7, 0.42),
        (1.05, 0.28),
        (1.2, 0),
    ]
    upper = smooth(half)
    points = np.concatenate([upper, upper[::-1][1:-1] * np.array([1, -1])])
    points[:, 1] *= wide
    return points


def _sole(height: float, paint: str, *, y: float = 0.0, wide: float = 1.0) -> list[Part]:
    return place(slab(_sole_outline(wide), height, paint), at=(0, y - height / 2, 0), turn=(-90, 0, 0))


def _upper(toe: float, instep: float, heel: float, dip: float, *, paint: str = "main") -> list[Part]:
    """The body of a shoe, swept from heel to toe: heights of toe, instep and heel, and depth in the sole."""
    tops = [
        (-1.0, heel * 0.5),
        (-0.92, heel * 0.96),
        (-0.6, heel * 0.98),
        (-0.15, instep),
        (0.35, (instep + toe) / 2),
        (0.8, toe),
        (1.08, toe * 0.75),
        (1.18, toe * 0.3),
    ]
    widths = [0.2, 0.29, 0.33, 0.33, 0.37, 0.4, 0.31, 0.12]
    path = [(x, (top - dip) / 2, 0) for x, top in tops]
    radii = [(top + dip) / 2 for _, top in tops]
    return tube(path, radii, paint, flat=[w / r for w, r in zip(widths, radii, strict=True)], power=2.7)


def _laces(count: int, paint: str, start: float, height: float, slope: float) -> list[Part]:
    parts: list[Part] = []
    for n in range(count):
        x = start + 0.15 * n
        y = height - slope * n
        parts += tube(
            [(x, y - 0.09, 0.19), (x + 0.03, y + 0.03, 0.0), (x, y - 0.09, -0.19)], 0.032, paint, up=(1, 0, 0)
        )
    return parts


def _side_mark(kind: str, paint: str) -> list[Part]:
    """The brand's mark on both sides of a shoe."""
    marks: dict[str, list[list[Point]]] = {
        "bars": [[(x, 0.08, 0.385), (x - 0.14, 0.42, 0.35)] for x in (-0.05, 0.12, 0.29)],
        "swoop": [[(-0.55, 0.36, 0.32), (-0.1, 0.12, 0.38), (0.5, 0.3, 0.37)]],
        "zigzag": [
            [(-0.5, 0.16, 0.34), (-0.3, 0.38, 0.34), (-0.1, 0.16, 0.37), (0.1, 0.36, 0.36), (0.3, 0.16, 0.39)]
        ],
        "line": [[(-0.9, 0.3, 0.29), (0.0, 0.24, 0.37), (0.75, 0.16, 0.41)]],
        "none": [],
    }
    near = [q for path in marks[kind] for q in tube(path, 0.05, paint, flat=0.45)]
    return near + place(near, scale=(1, 1, -1))


def _sneaker(p: SimpleNamespace) -> list[Part]:
    sole = {"thin": 0.14, "thick": 0.24, "chunky": 0.34}[p.sole]
    parts = _upper(0.34, 0.6, 0.78 + p.heel, 0.9 * sole) + _sole(sole, p.sole_paint, wide=1.06)
    if p.sole == "chunky":
        parts += _sole(0.1, "second/rubber", y=-0.24, wide=1.09)
    parts += place(
        lathe([(0.27, 0.05), (0.3, 0), (0.27, -0.05)], "second", wide=1.15, deep=0.8),
        at=(-0.58, 0.77 + p.heel, 0),
    )
    parts += place(
        lathe([(0.0, 0.0), (0.27, 0.02)], "black/cotton", wide=1.15, deep=0.8), at=(-0.58, 0.77 + p.heel, 0)
    )
    tongue: list[Point] = [(-0.2, 0.3), (0.2, 0.3), (0.17, -0.4), (-0.17, -0.4)]
    parts += place(
        sheet(smooth(tongue, closed=True), 0.04, p.tongue, printed=True),
        at=(-0.18, 0.72, 0),
        turn=(-62, 90, 0),
    )
    parts += _laces(4, p.laces, -0.14, 0.7, 0.065) + _side_mark(p.mark, p.mark_paint)
    if p.toe == "capped":
        parts += place(ball(0.33, "light/rubber", wide=0.9, deep=1.14), at=(0.9, 0.12, 0), scale=(1, 0.6, 1))
    return parts


def _high_top(p: SimpleNamespace) -> list[Part]:
    top = p.height
    shaft = tube(
        [(-0.58, 0.3, 0), (-0.6, 0.8, 0), (-0.58, top, 0)], [0.4, 0.36, 0.38], "main", flat=0.8, up=(0, 0, 1)
    )
    lining = place(lathe([(0, -0.08), (0.34, 0.0)], "black/cotton", deep=0.8), at=(-0.58, top, 0))
    parts = _upper(0.36, 0.62, 0.8, 0.9 * p.sole) + shaft + lining + _sole(p.sole, p.sole_paint, wide=1.05)
    for n in range(7):
        y = 0.52 + max(0, n - 1) * 0.13 * top / 1.3
        x = max(-0.2, 0.16 - 0.14 * n)
        parts += tube(
            [(x - 0.05, y, 0.24), (x + 0.06, y + 0.05, 0), (x - 0.05, y, -0.24)], 0.035, p.laces, up=(0, 1, 0)
        )
    if p.toe == "capped":
        parts += place(ball(0.36, "light/rubber", wide=0.9, deep=1.12), at=(0.88, 0.12, 0), scale=(1, 0.6, 1))
    badge = {
        "round": sheet(
            [(0.17 * np.cos(a), 0.17 * np.sin(a)) for a in np.linspace(0, 6.2, 24)],
            0.02,
            p.badge_paint,
            printed=True,
        ),
        "none": [],
    }[p.badge]
    return parts + place(badge, at=(-0.58, 0.72, 0.33)) + _side_mark(p.mark, "third")


def _rain_boot(p: SimpleNamespace) -> list[Part]:
    top = p.height
    shaft = lathe([(0.42, top), (0.4, 0.6 * top), (0.36, 0.5), (0.4, 0.1)], "main", deep=0.82, printed=True)
    rim = lathe([(0.44, top + 0.03), (0.46, top - 0.08), (0.43, top - 0.16)], p.rim, deep=0.82)
    lining = lathe([(0.0, top - 0.1), (0.42, top)], "black/cotton", deep=0.82)
    foot = _upper(0.4, 0.62, 0.75, 0.9 * p.sole, paint="plain") + _sole(p.sole, p.sole_paint, wide=1.06)
    boot = place(shaft + rim + lining, at=(-0.55, 0, 0)) + place(foot, at=(-0.15, 0, 0), scale=(0.85, 1, 1))
    boot += place(rounded(0.55, 0.2, 0.56, p.sole_paint), at=(-0.7, -p.sole - 0.05, 0))
    if p.strap != "none":
        y = {"high": 0.82, "low": 0.45}[p.strap] * top
        boot += place(
            lathe([(0.41, 0.05), (0.43, 0), (0.41, -0.05)], "third/leather", deep=0.84), at=(-0.55, y, 0)
        )
        boot += place(rounded(0.12, 0.16, 0.05, "gold/steel"), at=(-0.45, y, 0.36))
    return boot


def _flip_flop(p: SimpleNamespace) -> list[Part]:
    height = 0.12 + 0.1 * p.thick
    one = _sole(height, p.edge) + _sole(0.03, "main", y=0.025, wide=0.97)
    centre: Point = (0.72, 0.06, 0)
    for side in (-0.36, 0.36):
        middle: Point = (0.35, 0.26, side * 0.75)
        one += tube(
            [centre, (0.6, 0.2, side * 0.2), middle, (-0.1, 0.02, side)],
            [0.05, 0.07, 0.09, 0.07],
            p.strap,
            flat=0.5,
            up=(0, 1, 0),
        )
    if p.knot == "flower":
        one += place(
            [
                q
                for k in range(5)
                for q in place(
                    ball(0.07, "third"), at=(0.1 * np.cos(k * 1.257), 0.03, 0.1 * np.sin(k * 1.257))
                )
            ]
            + ball(0.06, "mustard"),
            at=(0.6, 0.22, 0),
        )
    elif p.knot == "button":
        one += place(ball(0.08, "third"), at=(0.6, 0.22, 0))
    return place(one, at=(0, 0, 0.5)) + place(one, at=(0.08, 0, -0.5), scale=(1, 1, -1))


def _slipper(p: SimpleNamespace) -> list[Part]:
    vamp = tube(
        [(0.02, 0.26, 0), (0.35, 0.26, 0), (0.75, 0.22, 0), (1.05, 0.16, 0), (1.16, 0.08, 0)],
        [0.34, 0.36, 0.29, 0.2, 0.06],
        "main",
        flat=[1.08, 1.05, 1.35, 1.6, 1.8],
    )
    hole = place(lathe([(0, 0), (0.34, 0)], "black/cotton"), at=(0.03, 0.26, 0), turn=(0, 0, 90))
    trim = place(
        tube(
            [(0, 0.36 * np.cos(a), 0.39 * np.sin(a)) for a in np.linspace(0, 6.28, 14)[:-1]],
            0.06,
            p.trim,
            closed=True,
            up=(1, 0, 0),
        ),
        at=(0.02, 0.26, 0),
    )
    one = vamp + hole + trim + _sole(0.13, p.sole_paint, wide=1.05) + _sole(0.05, "light/plush", y=0.04)
    top = {
        "pompom": ball(0.17, "third/plush"),
        "bow": place(ball(0.12, "third"), at=(0, 0, 0.13), scale=(0.7, 0.8, 1.2))
        + place(ball(0.12, "third"), at=(0, 0, -0.13), scale=(0.7, 0.8, 1.2)),
        "ears": place(ball(0.14, "plain", wide=0.5), at=(0, 0.1, 0.18))
        + place(ball(0.14, "plain", wide=0.5), at=(0, 0.1, -0.18)),
        "none": [],
    }[p.top]
    one += place(top, at=(0.45, 0.62, 0))
    return place(one, at=(0, 0, 0.5)) + place(one, at=(0.06, 0, -0.5), scale=(1, 1, -1))


_SIDE = Pose(yaw=(-48, 48), pitch=(4, 34), roll=(-6, 6))

LEAVES = [
    Leaf(
        ("Footwear", "Athletic shoes", "Low-top sneakers"), "sneaker", _sneaker,
        numbers={"heel": (0.0, 0.14)},
        choices={"sole": ("thin", "thick", "chunky"), "mark": ("bars", "swoop", "zigzag", "line",
            "none"), "mark_paint": ("second", "third"), "laces": ("light", "third", "dark"),
            "toe": ("plain", "capped"), "tongue": ("second", "plain"), "sole_paint": ("light/rubber",
            "dark/rubber", "tan/rubber", "third/rubber")},
        feature="sole", colours=CLOTH, materials=("canvas", "leather", "suede"), patterns=("plain",
            "plain", "plain", "two-tone", "checked", "speckled"), prints=0.2, glyph_size=0.14,
        pose=_SIDE,
    ),
    Leaf(
        ("Footwear", "Athletic shoes", "High-top sneakers"), "high-top sneaker", _high_top,
        numbers={"height": (1.05, 1.5), "sole": (0.14, 0.3)},
        choices={"mark": ("bars", "swoop", "line", "none"), "laces": ("light", "third", "dark"),
            "toe": ("plain", "capped"), "badge": ("round", "round", "none"), "badge_paint": ("light",
            "third"), "sole_paint": ("light/rubber", "dark/rubber", "tan/rubber")},
        colours=CLOTH, materials=("canvas", "leather", "suede"), patterns=("plain", "plain", "checked",
            "starry", "two-tone", "floral"), prints=0.6, glyph_size=0.12, pose=_SIDE,
    ),
    Leaf(
        ("Footwear", "Boots", "Rain boots"), "rain boot", _rain_boot,
        numbers={"height": (1.1, 2.0), "sole": (0.1, 0.22)},
        choices={"strap": ("none", "high", "low"), "rim": ("second/rubber", "plain", "third/rubber"),
            "sole_paint": ("dark/rubber", "light/rubber", "tan/rubber", "second/rubber")},
        feature="strap", colours=("yellow", "red", "navy", "green", "black"), materials=("rubber",
            "plastic"), patterns=("plain", "plain", "dotted", "striped", "floral", "starry", "checked"),
        prints=0.4, words=0.2, glyph_size=0.25, pose=_SIDE,
    ),
    Leaf(
        ("Footwear", "Sandals and slippers", "Flip-flops"), "pair of flip-flops", _flip_flop,
        numbers={"thick": (0.0, 1.5)},
        choices={"strap": ("second/rubber", "plain", "third/rubber", "dark/leather"), "knot": ("none",
            "flower", "button"), "edge": ("plain", "light", "second", "tan")},
        feature="knot", colours=GEAR, materials=("rubber",), patterns=("plain", "striped", "floral",
            "leafy", "wavy", "dotted", "diagonal-striped", "two-tone"), pose=Pose(yaw=(-120, -35),
            pitch=(20, 62), roll=(-8, 8)),
    ),
    Leaf(
        ("Footwear", "Sandals and slippers", "Slippers"), "pair of slippers", _slipper,
        choices={"top": ("pompom", "bow", "ears", "none"), "trim": ("light/plush", "second/plush",
            "plain"), "sole_paint": ("dark/rubber", "tan/suede", "second/rubber")},
        feature="top", colours=("grey", "pink", "navy", "tan", "mint"), materials=("plush", "wool",
            "suede"), patterns=("plain", "tartan", "dotted", "checked", "hearts", "starry"),
        pose=Pose(yaw=(-110, -20), pitch=(14, 50)),
    ),
]  # fmt: skip
