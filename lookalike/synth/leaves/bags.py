"""Leaves of bags and luggage."""

from __future__ import annotations

import math
from types import SimpleNamespace

from lookalike.synth.geometry import (
    Part,
    Point,
    ball,
    flipped,
    lathe,
    oval,
    place,
    rounded,
    sheet,
    smooth,
    tube,
)
from lookalike.synth.leaf import CLOTH, FRONTAL, LEATHER, Leaf, Pose


def _backpack(p: SimpleNamespace) -> list[Part]:
    h = p.height
    body: list[Point] = [
        (0, h),
        (0.4, 0.97 * h),
        (0.85, 0.72 * h),
        (0.95, 0.1),
        (0.98, -0.7 * h),
        (0.9, -0.95 * h),
        (0, -h),
    ]
    parts = lathe(body, deep=0.5, power=3.4)
    low = {"tall": 0.8, "low": 0.5, "two": 0.5}[p.pocket] * h
    spots = (-0.36, 0.36) if p.pocket == "two" else (0.0,)
    wide = 0.62 if p.pocket == "two" else 1.35
    for x in spots:
        parts += place(
            rounded(wide, low, 0.3, p.pocket_paint, edge=0.5, printed=p.pocket != "two"),
            at=(x, -0.9 * h + low / 2, 0.47),
        )
        parts += tube(
            [(x - wide * 0.42, -0.9 * h + low * 0.82, 0.63), (x + wide * 0.42, -0.9 * h + low * 0.82, 0.63)],
            0.022,
            "steel/steel",
        )
    if p.top == "flap":
        flap: list[Point] = [(-0.75, 0.5), (0.75, 0.5), (0.8, -0.2), (0.5, -0.4), (-0.5, -0.4), (-0.8, -0.2)]
        parts += place(
            sheet(smooth(flap, closed=True), 0.1, "second"), at=(0, 0.52 * h, 0.42), turn=(-16, 0, 0)
        )
        parts += place(rounded(0.16, 0.24, 0.1, "gold/steel"), at=(0, 0.18 * h, 0.62))
    else:
        arc = [
            (0.8 * math.cos(a), 0.35 * h + 0.5 * h * math.sin(a), 0.34)
            for a in (0.0, 0.5, 1.0, 1.57, 2.14, 2.64, 3.14)
        ]
        parts += tube(arc, 0.035, p.zip)
    parts += tube(
        [(-0.2, 0.95 * h, -0.1), (-0.16, 1.2 * h, -0.1), (0.16, 1.2 * h, -0.1), (0.2, 0.95 * h, -0.1)],
        0.06,
        p.strap,
    )
    strap = tube(
        [(0.4, 0.85 * h, -0.4), (0.75, 0.6 * h, -0.7), (0.95, -0.1, -0.75), (0.85, -0.8 * h, -0.42)],
        0.13,
        p.strap,
        flat=0.35,
    )
    return parts + strap + flipped(strap)


def _tote(p: SimpleNamespace) -> list[Part]:
    h = p.height
    body = sheet(
        smooth(
            [(-0.85, h), (-0.85, h), (0.85, h), (0.85, h), (0.78, -h), (0.78, -h), (-0.78, -h), (-0.78, -h)],
            closed=True,
        ),
        0.22,
        bevel=0.6,
        creases=0.015,
        printed=True,
    )
    reach = 0.55 if p.handle == "short" else 1.15
    loop = tube(
        [
            (-0.42, h - 0.35, 0.2),
            (-0.42, h, 0.15),
            (-0.3, h + reach * 0.8, 0.1),
            (0, h + reach, 0.08),
            (0.3, h + reach * 0.8, 0.1),
            (0.42, h, 0.15),
            (0.42, h - 0.35, 0.2),
        ],
        0.065,
        p.strap,
        flat=0.4,
    )
    back = place(loop, at=(0, -0.05, -0.28))
    parts = body + loop + back
    if p.base == "dipped":
        parts += place(lathe([(0.85, 0.25), (0.84, -0.2)], "second", deep=0.3, power=4), at=(0, -h + 0.2, 0))
    if p.pocket == "pocket":
        parts += place(sheet(oval(0.5, 0.55, power=7), 0.04, "second"), at=(0.3, 0.15, 0.2))
    return parts


def _handbag(p: SimpleNamespace) -> list[Part]:
    w, h = 1.0 * p.width, 0.62
    top = {"trapeze": 0.72, "boxy": 0.98, "bucket": 1.12}[p.body]
    body = rounded(2 * w, 2 * h, 0.7, "main", taper=top, edge=0.35, power=4.5, printed=p.flap == "none")
    t = w * top * 0.6
    arcs = {"single": 0.95, "short": 0.5, "chain": 1.5}[p.handle]
    metal = "gold/steel" if p.handle == "chain" else p.strap
    path: list[Point] = [
        (-t, h - 0.05, 0),
        (-t * 0.95, h + arcs * 0.6, 0),
        (0, h + arcs, 0),
        (t * 0.95, h + arcs * 0.6, 0),
        (t, h - 0.05, 0),
    ]
    parts = body
    if p.handle == "chain":
        parts += [
            q
            for x, y, z in smooth(path, steps=7)
            for q in place(ball(0.055, metal), at=(float(x), float(y), float(z)))
        ]
    else:
        parts += tube(path, 0.065, metal)
    if p.flap != "none":
        low = {"round": -0.35, "straight": -0.1}[p.flap]
        flap: list[Point] = [
            (-w * top, h * 0.95),
            (w * top, h * 0.95),
            (w * 0.9, 0.1),
            (0, low),
            (-w * 0.9, 0.1),
        ]
        parts += place(
            sheet(smooth(flap, closed=p.flap == "round") if p.flap == "round" else flap, 0.05, "plain"),
            at=(0, 0, 0.37),
        )
        parts += place(
            rounded(0.2, 0.16, 0.08, "gold/steel") if p.clasp == "bar" else ball(0.1, "gold/steel"),
            at=(0, low + 0.2, 0.44),
        )
    if p.charm == "tassel":
        parts += tube(
            [(w * 0.55, h, 0.4), (w * 0.57, 0.1, 0.46), (w * 0.6, -0.25, 0.46)],
            [0.02, 0.04, 0.11],
            "second",
            up=(0, 0, 1),
        )
    return parts


def _suitcase(p: SimpleNamespace) -> list[Part]:
    h = p.height
    parts = place(rounded(1.6, 2 * h, 0.75, "main", edge=0.35, power=6, printed=True), at=(0, 0, 0))
    if p.ribs == "ribbed":
        parts += [
            q
            for n in range(5)
            for q in tube(
                [(-0.56 + 0.28 * n, 0.86 * h, 0.375), (-0.56 + 0.28 * n, -0.86 * h, 0.375)],
                0.035,
                "plain",
                up=(1, 0, 0),
            )
        ]
    elif p.ribs == "banded":
        parts += [
            q
            for y in (0.55, -0.55)
            for q in place(
                lathe([(0.815, 0.06), (0.83, 0), (0.815, -0.06)], "second", deep=0.47, power=6),
                at=(0, y * h, 0),
            )
        ]
    tall = {"retracted": 0.2, "half": 0.7, "full": 1.2}[p.handle]
    for x in (-0.38, 0.38):
        parts += tube([(x, h, -0.28), (x, h + tall, -0.28)], 0.04, "steel/steel", up=(1, 0, 0))
        for z in (-0.26, 0.26):
            parts += place(
                lathe([(0, 0.07), (0.13, 0.07), (0.13, -0.07), (0, -0.07)], p.wheel, curved=False),
                at=(x * 1.6, -h - 0.11, z),
                turn=(0, 0, 90),
            )
    parts += tube([(-0.42, h + tall, -0.28), (0.42, h + tall, -0.28)], 0.075, "dark")
    parts += tube([(-0.25, h, 0), (-0.2, h + 0.12, 0), (0.2, h + 0.12, 0), (0.25, h, 0)], 0.05, "dark")
    if p.corner == "capped":
        parts += [
            q
            for sx in (-1, 1)
            for sy in (-1, 1)
            for q in place(ball(0.22, "second", deep=1.5), at=(sx * 0.66, sy * (h - 0.14), 0.0))
        ]
    return parts


LEAVES = [
    Leaf(
        ("Bags and luggage", "Bags", "Backpacks"), "backpack", _backpack,
        numbers={"height": (1.05, 1.45)},
        choices={"pocket": ("tall", "low", "two"), "top": ("zip", "zip", "flap"),
            "pocket_paint": ("plain", "second", "main"), "strap": ("plain", "third", "dark"),
            "zip": ("dark", "third", "steel/steel")},
        feature="top", colours=CLOTH, materials=("nylon", "canvas"), patterns=("plain", "plain",
            "two-tone", "checked", "striped", "floral", "starry"), prints=0.6, words=0.4, glyph_size=0.3,
        pose=Pose(yaw=(-45, 45), pitch=(2, 26), roll=(-6, 6)),
    ),
    Leaf(
        ("Bags and luggage", "Bags", "Tote bags"), "tote bag", _tote,
        numbers={"height": (0.75, 1.1)},
        choices={"handle": ("short", "long"), "strap": ("plain", "second", "tan/leather"),
            "base": ("plain", "dipped"), "pocket": ("none", "none", "pocket")},
        feature="handle", colours=("cream", "white", "black", "navy", "sand"), materials=("canvas",
            "cotton"), patterns=("plain", "plain", "striped", "checked", "dotted", "leafy",
            "vertical-striped"), prints=0.85, words=0.4, glyph_size=0.5, pose=Pose(yaw=(-38, 38),
            pitch=(-4, 22), roll=(-10, 10)),
    ),
    Leaf(
        ("Bags and luggage", "Bags", "Handbags"), "handbag", _handbag,
        numbers={"width": (0.8, 1.25)},
        choices={"body": ("trapeze", "boxy", "bucket"), "handle": ("single", "short", "chain"),
            "flap": ("none", "round", "straight"), "clasp": ("bar", "ball"), "strap": ("plain",
            "second"), "charm": ("none", "tassel")},
        feature="handle", colours=LEATHER, materials=("leather", "suede"), patterns=("plain", "plain",
            "two-tone", "banded", "argyle", "checked"), prints=0.15, glyph_size=0.25, pose=FRONTAL,
    ),
    Leaf(
        ("Bags and luggage", "Luggage", "Suitcases"), "suitcase", _suitcase,
        numbers={"height": (0.85, 1.35)},
        choices={"ribs": ("ribbed", "banded", "smooth"), "handle": ("retracted", "half", "full"),
            "wheel": ("dark", "second", "light"), "corner": ("plain", "capped")},
        feature="handle", colours=("black", "navy", "red", "teal", "steel", "mustard"),
        materials=("plastic", "leather"), patterns=("plain", "plain", "two-tone", "checked", "speckled"),
        prints=0.3, words=0.3, glyph_size=0.3, pose=Pose(yaw=(-55, 55), pitch=(3, 26)),
    ),
]  # fmt: skip
