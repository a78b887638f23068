"""Leaves of furniture: seats, tables, storage."""

from __future__ import annotations

from types import SimpleNamespace

from lookalike.synth.geometry import Part, ball, box, lathe, oval, panel, place, rounded, slab, tube
from lookalike.synth.leaf import FRONTAL, WOODS, Leaf, Pose


def _legs(x: float, z: float, top: float, low: float, splay: float, radius: float, paint: str) -> list[Part]:
    return [
        part
        for sx in (-1, 1)
        for sz in (-1, 1)
        for part in tube(
            [(sx * x, top, sz * z), (sx * (x + splay), low, sz * (z + splay))],
            [radius, radius * 0.7],
            paint,
            up=(1, 0, 0),
        )
    ]


def _chair(p: SimpleNamespace) -> list[Part]:
    seat = place(rounded(1.3, 0.14, 1.2, p.seat), at=(0, 0, 0))
    tall = p.back_height
    wood = "plain"
    parts = seat + _legs(0.5, 0.45, 0, -1.1, p.splay, 0.07, p.leg)
    posts = [
        q
        for x in (-0.55, 0.55)
        for q in tube([(x, 0, -0.52), (x * 1.02, tall, -0.68)], 0.06, wood, up=(1, 0, 0))
    ]
    if p.back == "slatted":
        bars = [
            q
            for n in range(4)
            for q in tube(
                [(-0.36 + 0.24 * n, 0, -0.53), (-0.36 + 0.24 * n, tall, -0.68)], 0.045, wood, up=(1, 0, 0)
            )
        ]
        rails = tube([(-0.58, tall, -0.68), (0.58, tall, -0.68)], 0.08, wood)
    elif p.back == "ladder":
        bars, rails = (
            [],
            [
                q
                for n in range(3)
                for q in tube(
                    [(-0.55, tall * (0.4 + 0.28 * n), -0.6), (0.55, tall * (0.4 + 0.28 * n), -0.6)],
                    0.08,
                    wood,
                    flat=0.5,
                )
            ],
        )
    elif p.back == "cross":
        bars = tube([(-0.55, 0.05, -0.54), (0.55, tall, -0.66)], 0.05, wood) + tube(
            [(0.55, 0.05, -0.54), (-0.55, tall, -0.66)], 0.05, wood
        )
        rails = tube([(-0.58, tall, -0.68), (0.58, tall, -0.68)], 0.08, wood)
    else:
        bars, rails = (
            [],
            place(
                rounded(1.25, tall * 0.62, 0.12, "main", printed=True),
                at=(0, tall * 0.68, -0.62),
                turn=(-6, 0, 0),
            ),
        )
    return parts + posts + bars + rails


def _stool(p: SimpleNamespace) -> list[Part]:
    top: list[Part] = {
        "round": lathe([(0, 0.1), (0.62, 0.1), (0.68, 0.04), (0.66, -0.06)], p.top),
        "square": rounded(1.3, 0.16, 1.3, p.top),
        "padded": lathe([(0, 0.24), (0.5, 0.2), (0.68, 0.08), (0.64, -0.06)], "second/leather"),
    }[p.seat]
    low = -p.height
    parts = top + _legs(0.42, 0.42, 0, low, p.splay, 0.07, p.leg)
    if p.brace == "ring":
        y = low * 0.6
        reach = 0.42 + p.splay * 0.6
        parts += tube(
            [(x, y, z) for x, z in oval(2.8 * reach, 2.8 * reach)], 0.04, p.leg, closed=True, up=(0, 1, 0)
        )
    elif p.brace == "bars":
        reach = 0.42 + p.splay * 0.6
        for turn in (0, 90, 180, 270):
            parts += place(
                tube([(-reach, low * 0.6, reach), (reach, low * 0.6, reach)], 0.045, p.leg), turn=(0, turn, 0)
            )
    return parts


def _armchair(p: SimpleNamespace) -> list[Part]:
    w = p.width
    arm_height, arm_width = (0.75, 0.34) if p.arms == "low" else (1.05, 0.26)
    edge = 0.45 if p.arms != "boxy" else 0.12
    seat = place(rounded(1.3 * w, 0.5, 1.4, "plain"), at=(0, -0.3, 0)) + place(
        rounded(1.28 * w, 0.3, 1.35, "main", edge=0.4), at=(0, 0.05, 0.05)
    )
    back = place(
        rounded(1.5 * w, 1.6 * p.back_height, 0.36, "main", edge=0.45, printed=True),
        at=(0, 0.45, -0.62),
        turn=(-9, 0, 0),
    )
    arms = [
        q
        for s in (-1, 1)
        for q in place(
            rounded(arm_width, arm_height, 1.45, "plain", edge=edge),
            at=(s * (0.65 * w + arm_width / 2), -0.25 + arm_height / 2 - 0.25, 0),
        )
    ]
    return seat + back + arms + _legs(0.6 * w, 0.5, -0.5, -0.95, p.splay, 0.07, p.leg)


def _side_table(p: SimpleNamespace) -> list[Part]:
    top: list[Part] = {
        "round": place(slab(oval(2, 2), 0.1, side="plain"), turn=(-90, 0, 0)),
        "square": box(1.8, 0.1, 1.8, "plain"),
        "oval": place(slab(oval(2.3, 1.4), 0.1, side="plain"), turn=(-90, 0, 0)),
    }[p.top]
    low = -1.3 * p.height
    reach = 0.45 if p.top != "oval" else 0.4
    if p.foot == "pedestal":
        foot = lathe([(0.1, 0), (0.1, low + 0.4), (0.16, low + 0.12), (0.6, low), (0.62, low - 0.04)], p.leg)
    else:
        foot = _legs(reach, reach, 0, low, p.splay, 0.06, p.leg)
    shelf = (
        place(slab(oval(1.1, 1.1), 0.06, "second"), at=(0, low * 0.6, 0), turn=(-90, 0, 0))
        if p.shelf == "shelf"
        else []
    )
    return top + foot + shelf


def _dresser(p: SimpleNamespace) -> list[Part]:
    w, h = 1.7 * p.width, 1.5
    rows = {"two": 2, "three": 3, "four": 4}[p.drawers]
    parts = box(w, h, 0.9, "plain")
    for row in range(rows):
        y = h / 2 - h * (row + 0.5) / rows
        parts += place(panel(w - 0.12, h / rows - 0.08, "main"), at=(0, y, 0.462))
        spots = (-w / 4, w / 4) if p.knobs != "bar" else (0.0,)
        for x in spots:
            knob = ball(0.055, p.metal) if p.knobs == "round" else box(0.1, 0.1, 0.08, p.metal)
            if p.knobs == "bar":
                knob = tube([(-0.28, 0, 0), (0.28, 0, 0)], 0.035, p.metal)
            parts += place(knob, at=(x, y, 0.52))
    return parts + _legs(w / 2 - 0.12, 0.35, -h / 2, -h / 2 - 0.4 * p.leg_height, p.splay, 0.06, "oak/wooden")


LEAVES = [
    Leaf(
        ("Furniture", "Seating", "Chairs"), "chair", _chair,
        numbers={"back_height": (1.0, 1.6), "splay": (0.0, 0.2)},
        choices={"back": ("slatted", "ladder", "cross", "solid"), "seat": ("plain", "second/leather",
            "main"), "leg": ("plain", "oak/wooden", "dark/steel")},
        feature="back", colours=WOODS, materials=("wooden",), pose=Pose(yaw=(-60, 60), pitch=(4, 28)),
    ),
    Leaf(
        ("Furniture", "Seating", "Stools"), "stool", _stool,
        numbers={"height": (0.8, 1.9), "splay": (0.0, 0.3)},
        choices={"seat": ("round", "square", "padded"), "brace": ("ring", "bars", "none"),
            "leg": ("plain", "dark/steel", "gold/steel"), "top": ("plain", "second")},
        feature="seat", colours=WOODS, materials=("wooden",), pose=Pose(yaw=(-60, 60), pitch=(6, 34)),
    ),
    Leaf(
        ("Furniture", "Seating", "Armchairs"), "armchair", _armchair,
        numbers={"width": (0.85, 1.5), "back_height": (0.8, 1.15), "splay": (0.0, 0.15)},
        choices={"arms": ("low", "high", "boxy"), "leg": ("oak/wooden", "dark/steel", "gold/steel")},
        feature="arms", colours=("grey", "navy", "mustard", "teal", "coral", "tan"), materials=("linen",
            "leather", "wool"), patterns=("plain", "plain", "checked", "tartan", "floral", "striped",
            "chevron"), prints=0.0, pose=Pose(yaw=(-55, 55), pitch=(4, 28)),
    ),
    Leaf(
        ("Furniture", "Storage and tables", "Side tables"), "side table", _side_table,
        numbers={"height": (0.7, 1.2), "splay": (0.0, 0.25)},
        choices={"top": ("round", "square", "oval"), "foot": ("legs", "pedestal", "legs"),
            "shelf": ("none", "shelf"), "leg": ("plain", "dark/steel", "gold/steel")},
        feature="top", colours=WOODS, materials=("wooden", "steel"), patterns=("plain", "plain",
            "checked", "diamonds"), pose=Pose(yaw=(-60, 60), pitch=(8, 34)),
    ),
    Leaf(
        ("Furniture", "Storage and tables", "Dressers"), "dresser", _dresser,
        numbers={"width": (0.8, 1.3), "leg_height": (0.4, 1.2), "splay": (0.0, 0.12)},
        choices={"drawers": ("two", "three", "four"), "knobs": ("round", "square", "bar"),
            "metal": ("gold/steel", "dark", "steel/steel")},
        feature="drawers", colours=WOODS, materials=("wooden",), patterns=("plain", "plain", "two-tone",
            "vertical-striped"), pose=FRONTAL,
    ),
]  # fmt: skip
