"""Leaves of accessories: watches, glasses, umbrellas, scarves."""

from __future__ import annotations

import math
from types import SimpleNamespace

from lookalike.synth.geometry import (
    Part,
    Point,
    ball,
    disc,
    flipped,
    lathe,
    oval,
    place,
    rounded,
    sheet,
    slab,
    tube,
)
from lookalike.synth.leaf import LEATHER, SIMPLE, WOVEN, Leaf, Pose


def _watch(p: SimpleNamespace) -> list[Part]:
    power = {"round": 2.0, "square": 6.0, "cushion": 3.2}[p.case]
    parts = slab(oval(1.1, 1.1, power=power), 0.14, p.dial, side=p.metal)
    parts += tube([(x, y, 0.07) for x, y in oval(1.12, 1.12, power=power)], p.bezel, p.metal, closed=True)
    strap: list[Point] = [(-0.34, 0.48), (0.34, 0.48), (0.3, 1.6), (-0.3, 1.6)]
    parts += place(sheet(strap, 0.07, "main", bevel=0.5), at=(0, 0, -0.04)) + place(
        sheet([(x, -y) for x, y in strap], 0.07, "main", bevel=0.5), at=(0, 0, -0.04)
    )
    if p.seam == "stitched":
        for s in (-1, 1):
            for e in (-1, 1):
                parts += tube(
                    [(s * 0.24, e * 0.6, 0.03), (s * 0.22, e * 1.5, 0.03)], 0.016, "light", up=(0, 0, 1)
                )
    parts += tube([(-0.36, 1.6, 0), (0.36, 1.6, 0)], 0.06, p.metal)
    marks = {"four": 4, "twelve": 12, "none": 0}[p.marks]
    for n in range(marks):
        a = math.tau * n / marks
        parts += place(
            rounded(0.035, 0.1, 0.02, p.hands),
            at=(0.4 * math.sin(a), 0.4 * math.cos(a), 0.08),
            turn=(0, 0, -math.degrees(a)),
        )
    if p.small == "chronograph":
        parts += [
            q
            for x, y in ((-0.2, 0), (0.2, 0), (0, -0.22))
            for q in place(disc(0.11, "grey/steel"), at=(x, y, 0.075), turn=(90, 0, 0))
        ]
    for reach, turn in ((0.25, -60.0), (0.38, 40.0)):
        parts += place(
            slab([(-0.025, -0.06), (0.025, -0.06), (0.012, reach), (-0.012, reach)], 0.01, p.hands),
            at=(0, 0, 0.1),
            turn=(0, 0, turn),
        )
    return (
        parts
        + place(ball(0.07, p.metal, wide=1.3), at=(0.62, 0, 0))
        + place(ball(0.035, p.hands), at=(0, 0, 0.1))
    )


def _sunglasses(p: SimpleNamespace) -> list[Part]:
    shape = {
        "round": (0.92, 0.92, 2.0),
        "rectangular": (1.0, 0.62, 4.5),
        "wayfarer": (1.0, 0.78, 3.0),
        "oval": (1.02, 0.7, 2.0),
    }[p.lens]
    wide, tall, power = shape
    ring = oval(wide, tall, power=power)
    if p.lens == "wayfarer":
        ring = ring * (1 + 0.18 * (ring[:, 1:] / tall + 0.5) * [1, 0])
    x = wide / 2 + 0.13
    side = place(sheet(ring, 0.03, p.glass), at=(x, 0, 0)) + place(
        tube([(a, b, 0) for a, b in ring], p.rim, "main", closed=True), at=(x, 0, 0)
    )
    hinge = x + wide / 2 + 0.04
    arm = tube(
        [
            (hinge, tall * 0.25, 0),
            (hinge + 0.05, tall * 0.25, -0.5),
            (hinge, tall * 0.22, -1.2),
            (hinge - 0.08, -0.12, -1.6),
        ],
        p.rim * 1.1,
        p.arm,
        flat=0.6,
    )
    stud = (
        place(ball(0.05, "gold/steel"), at=(hinge - 0.02, tall * 0.25, 0.05)) if p.stud == "studded" else []
    )
    half = side + arm + stud
    bridge = tube(
        [(-0.16, tall * 0.12, 0), (0, tall * 0.24, 0.03), (0.16, tall * 0.12, 0)], p.rim * 0.9, p.bridge
    )
    if p.top == "double":
        bridge += tube([(-0.3, tall * 0.44, 0), (0.3, tall * 0.44, 0)], p.rim * 0.6, p.bridge)
    return half + flipped(half) + bridge


def _umbrella(p: SimpleNamespace) -> list[Part]:
    h = p.arch
    canopy = lathe([(0.02, h), (0.5, 0.9 * h), (0.95, 0.5 * h), (1.2, 0)], printed=True)
    rib = tube([(0, h + 0.01, 0), (0, 0.91 * h, 0.5), (0, 0, 1.2)], 0.013, "steel/steel", up=(1, 0, 0))
    ribs = [q for n in range(8) for q in place(rib, turn=(0, 45 * n, 0))]
    edge = lathe([(1.19, 0.06), (1.21, 0.0)], p.edge)
    pole = tube([(0, h + 0.2, 0), (0, -1.35, 0)], 0.03, "steel/steel", up=(1, 0, 0))
    ends: dict[str, list[Point]] = {
        "hooked": [(0, -1.3, 0), (0, -1.6, 0), (0.12, -1.78, 0), (0.3, -1.75, 0), (0.36, -1.55, 0)],
        "straight": [(0, -1.25, 0), (0, -1.5, 0), (0, -1.75, 0)],
        "knob": [(0, -1.3, 0), (0, -1.45, 0), (0, -1.5, 0)],
    }
    grip = tube(ends[p.handle], 0.065, p.grip, up=(0, 0, 1))
    if p.handle == "knob":
        grip += place(ball(0.15, p.grip), at=(0, -1.55, 0))
    return canopy + ribs + edge + pole + grip


def _scarf(p: SimpleNamespace) -> list[Part]:
    ring = place(
        tube(
            [
                (0.55 * math.sin(a), 0.12 * math.cos(2 * a), 0.42 * math.cos(a))
                for a in (0, 0.9, 1.8, 2.7, 3.6, 4.5, 5.4)
            ],
            0.22,
            "main",
            closed=True,
            up=(0, 1, 0),
        ),
        at=(0, 0.55, 0),
    )
    parts = ring + place(ball(0.27, "main"), at=(0.08, 0.4, 0.42))
    for x, low, turn in ((-0.18, -1.0 * p.length, 6.0), (0.3, -0.75 * p.length, -8.0)):
        tail = [(-0.24, 0.3), (0.24, 0.3), (0.3, low), (-0.3, low)]
        parts += place(
            sheet(tail, 0.06, "main", bevel=0.4, creases=0.02, printed=x > 0),
            at=(x, 0.1, 0.44),
            turn=(0, 0, turn),
        )
        count = {"fringed": 7, "tasselled": 4, "plain": 0}[p.end]
        for n in range(count):
            dx = -0.25 + 0.5 * n / max(count - 1, 1)
            cord = tube(
                [(dx, low, 0), (dx, low - 0.16, 0), (dx, low - 0.28, 0)],
                [0.025, 0.03, 0.035] if p.end == "fringed" else [0.03, 0.08, 0.06],
                p.trim,
                up=(0, 0, 1),
            )
            parts += place(cord, at=(x, 0.1, 0.44), turn=(0, 0, turn))
    return parts


LEAVES = [
    Leaf(
        ("Accessories", "Jewellery and watches", "Wristwatches"), "wristwatch", _watch,
        numbers={"bezel": (0.04, 0.11)},
        choices={"case": ("round", "square", "cushion"), "marks": ("four", "twelve", "none"),
            "small": ("none", "none", "chronograph"), "dial": ("light/paper", "black/paper",
            "navy/paper", "cream/paper"), "metal": ("steel/steel", "gold/steel", "copper/steel"),
            "hands": ("dark", "gold/steel", "red/plastic"), "seam": ("plain", "stitched")},
        feature="case", colours=LEATHER, materials=("leather", "rubber", "canvas"), patterns=("plain",
            "plain", "vertical-striped"), pose=Pose(yaw=(-35, 35), pitch=(-25, 25), roll=(-50, 50),
            rest="flat"),
    ),
    Leaf(
        ("Accessories", "Eyewear", "Sunglasses"), "sunglasses", _sunglasses,
        numbers={"rim": (0.035, 0.09)},
        choices={"lens": ("round", "rectangular", "wayfarer", "oval"), "glass": ("black/glass",
            "brown/glass", "teal/glass", "grey/glass"), "arm": ("main", "second", "gold/steel"),
            "bridge": ("main", "gold/steel", "second"), "top": ("single", "double"), "stud": ("plain",
            "studded")},
        feature="lens", colours=("black", "brown", "gold", "red", "navy", "white"), materials=("plastic",
            "steel"), patterns=("plain", "plain", "speckled"), pose=Pose(yaw=(-50, 50), pitch=(2, 32),
            roll=(-10, 10)),
    ),
    Leaf(
        ("Accessories", "Weather", "Umbrellas"), "umbrella", _umbrella,
        numbers={"arch": (0.4, 0.8)},
        choices={"handle": ("hooked", "straight", "knob"), "grip": ("oak/wooden", "dark", "second"),
            "edge": ("plain", "second", "third")},
        feature="handle", colours=("black", "navy", "red", "yellow", "teal", "white"),
        materials=("nylon",), patterns=(*SIMPLE, "vertical-striped", "tartan", "floral", "hearts",
            "checked"), prints=0.3, words=0.1, glyph_size=0.35, pose=Pose(yaw=(-50, 50), pitch=(-6, 36),
            roll=(-30, 30)),
    ),
    Leaf(
        ("Accessories", "Weather", "Scarves"), "scarf", _scarf,
        numbers={"length": (0.8, 1.5)},
        choices={"end": ("fringed", "tasselled", "plain"), "trim": ("plain", "second", "third")},
        feature="end", colours=("grey", "red", "navy", "mustard", "burgundy"), materials=("wool",
            "cotton"), patterns=(*WOVEN, "argyle", "diamonds", "two-tone"), prints=0.15, glyph_size=0.25,
        pose=Pose(yaw=(-40, 40), pitch=(-4, 18), rest="wall"),
    ),
]  # fmt: skip
