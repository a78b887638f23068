"""Leaves of beauty: bottles, perfumes, make-up."""

from __future__ import annotations

from types import SimpleNamespace

from lookalike.synth.geometry import Part, Point, ball, lathe, oval, place, rounded, sheet, tube
from lookalike.synth.leaf import FRONTAL, Leaf


def _pump_bottle(p: SimpleNamespace) -> list[Part]:
    h = p.height
    bodies: dict[str, list[Point]] = {
        "round": [(0.12, h), (0.42, 0.92 * h), (0.5, 0.7 * h), (0.5, 0), (0.5, -0.95 * h), (0.44, -h)],
        "square": [(0.12, h), (0.48, 0.97 * h), (0.5, 0.9 * h), (0.5, 0), (0.5, -0.97 * h), (0.46, -h)],
        "curvy": [
            (0.12, h),
            (0.36, 0.86 * h),
            (0.52, 0.4 * h),
            (0.4, -0.1 * h),
            (0.52, -0.8 * h),
            (0.44, -h),
        ],
    }
    power = 5.0 if p.body == "square" else 2.2
    parts = lathe(bodies[p.body], "plain", deep=0.75, power=power)
    label = (
        lathe([(0.512, 0.45 * h), (0.512, -0.7 * h)], "main", deep=0.75, power=power, printed=True)
        if p.body != "curvy"
        else place(sheet(oval(0.62, 1.0 * h, power=3), 0.06, "main", printed=True), at=(0, -0.1 * h, 0.34))
    )
    neck = lathe([(0.16, h + 0.14), (0.2, h + 0.12), (0.2, h - 0.02)], p.cap)
    heads = {
        "pump": tube([(0, h + 0.1, 0), (0, h + 0.34, 0)], 0.05, p.cap, up=(1, 0, 0))
        + tube([(-0.16, h + 0.36, 0), (0.2, h + 0.38, 0), (0.5, h + 0.3, 0)], [0.1, 0.09, 0.05], p.cap),
        "spray": place(rounded(0.34, 0.34, 0.26, p.cap, edge=0.4), at=(0.06, h + 0.3, 0))
        + tube([(0.16, h + 0.36, 0), (0.34, h + 0.37, 0)], 0.06, p.cap)
        + tube([(0.2, h + 0.25, 0), (0.3, h + 0.05, 0), (0.26, h - 0.12, 0)], 0.04, p.cap, flat=1.6),
        "flip": lathe([(0, h + 0.34), (0.24, h + 0.34), (0.27, h + 0.1), (0.26, h)], p.cap),
    }
    return parts + label + neck + heads[p.head]


def _perfume(p: SimpleNamespace) -> list[Part]:
    bodies = {
        "square": rounded(1.3, 1.3 * p.height, 0.6, "main", power=9, printed=True),
        "round": place(
            lathe(
                [(0, 0.35), (0.5, 0.33), (0.68, 0.15), (0.7, 0), (0.68, -0.15), (0.5, -0.33), (0, -0.35)],
                "main",
                printed=False,
            ),
            turn=(90, 0, 0),
        ),
        "tapered": rounded(1.3, 1.4 * p.height, 0.6, "main", taper=0.55, power=4, printed=True),
        "faceted": lathe(
            [(0.25, 0.65), (0.68, 0.25), (0.5, -0.65), (0, -0.65)],
            "main",
            power=3,
            deep=0.8,
            curved=False,
            printed=True,
        ),
    }
    top = {"square": 0.65 * p.height, "round": 0.66, "tapered": 0.7 * p.height, "faceted": 0.65}[p.body]
    collar = lathe([(0.19, top + 0.16), (0.19, top - 0.03)], "gold/steel", curved=False)
    caps = {
        "cube": rounded(0.46, 0.4, 0.46, p.cap, power=8),
        "ball": ball(0.27, p.cap),
        "tall": lathe([(0, 0.34), (0.2, 0.34), (0.22, -0.2)], p.cap, curved=False),
        "flat": lathe([(0, 0.08), (0.36, 0.08), (0.36, -0.1)], p.cap, curved=False),
    }
    label = (
        place(
            sheet(oval(0.55, 0.4, power=6), 0.02, p.label, printed=True),
            at=(0, -0.02, 0.31 if p.body != "faceted" else 0.5),
        )
        if p.label != "none" and p.body != "round"
        else []
    )
    return bodies[p.body] + collar + place(caps[p.caps], at=(0, top + 0.32, 0)) + label


def _lipstick(p: SimpleNamespace) -> list[Part]:
    power = 6.0 if p.case == "square" else 2.0
    r = 0.36
    base = lathe(
        [(r, 0.1), (r, 0.1), (r, -0.9 * p.height), (0, -0.9 * p.height)],
        "main",
        power=power,
        curved=False,
        printed=True,
    )
    sleeve = lathe([(0, 0.42), (r * 0.82, 0.42), (r * 0.82, 0.08)], p.metal, power=power, curved=False)
    ring = lathe([(r * 1.04, 0.12), (r * 1.04, 0.04)], p.band, power=power, curved=False)
    top = {"slanted": 0.95, "pointed": 1.05, "flat": 0.85}[p.tip]
    bullets: dict[str, list[Point]] = {
        "slanted": [(0, top), (0.12, top - 0.04), (0.22, top - 0.28), (0.23, 0.4)],
        "pointed": [(0, top), (0.1, top - 0.14), (0.22, top - 0.4), (0.23, 0.4)],
        "flat": [(0, top), (0.2, top), (0.23, top - 0.06), (0.23, 0.4)],
    }
    cap = (
        place(
            lathe([(0, 0.55), (r, 0.55), (r, -0.45), (0, -0.45)], "plain", power=power, curved=False),
            at=(1.0, -0.9 * p.height + 0.45, 0.1),
        )
        if p.cap == "beside"
        else []
    )
    return base + sleeve + ring + lathe(bullets[p.tip], p.shade) + cap


LEAVES = [
    Leaf(
        ("Beauty", "Skin and hair care", "Pump bottles"), "bottle", _pump_bottle,
        numbers={"height": (0.75, 1.15)},
        choices={"body": ("round", "square", "curvy"), "head": ("pump", "spray", "flip"),
            "cap": ("light", "dark", "second", "gold/steel")},
        feature="head", colours=("white", "mint", "pink", "sky", "sand", "lilac"), materials=("plastic",
            "glass"), patterns=("plain", "plain", "banded", "two-tone", "leafy", "floral"), prints=0.7,
        words=0.7, glyph_size=0.26, pose=FRONTAL,
    ),
    Leaf(
        ("Beauty", "Fragrance and make-up", "Perfumes"), "perfume", _perfume,
        numbers={"height": (0.8, 1.15)},
        choices={"body": ("square", "round", "tapered", "faceted"), "caps": ("cube", "ball", "tall",
            "flat"), "cap": ("gold/steel", "dark", "steel/steel", "oak/wooden"), "label": ("none",
            "light/paper", "dark/paper", "gold/steel")},
        feature="body", colours=("pink", "lilac", "mustard", "sky", "charcoal", "mint"),
        materials=("glass",), patterns=("plain", "plain", "two-tone", "banded", "vertical-striped"),
        prints=0.4, words=0.5, glyph_size=0.22, pose=FRONTAL,
    ),
    Leaf(
        ("Beauty", "Fragrance and make-up", "Lipsticks"), "lipstick", _lipstick,
        numbers={"height": (0.8, 1.2)},
        choices={"case": ("round", "square"), "tip": ("slanted", "pointed", "flat"),
            "shade": ("red/plastic", "pink/plastic", "coral/plastic", "burgundy/plastic"),
            "metal": ("gold/steel", "steel/steel"), "band": ("third", "gold/steel", "plain"),
            "cap": ("beside", "none")},
        feature="tip", colours=("black", "white", "gold", "pink", "navy"), materials=("plastic",
            "steel"), patterns=("plain", "plain", "vertical-striped", "dotted", "banded", "diamonds"),
        prints=0.3, words=0.3, glyph_size=0.15, pose=FRONTAL,
    ),
]  # fmt: skip
