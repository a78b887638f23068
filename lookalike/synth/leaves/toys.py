"""Leaves of toys and musical instruments."""

from __future__ import annotations

from types import SimpleNamespace

from lookalike.synth.geometry import (
    Part,
    Point,
    ball,
    box,
    disc,
    flipped,
    lathe,
    mirror,
    oval,
    place,
    sheet,
    slab,
    smooth,
    tube,
)
from lookalike.synth.leaf import BRIGHT, LYING, SIMPLE, Leaf, Pose


def _teddy(p: SimpleNamespace) -> list[Part]:
    parts = place(ball(0.62, "plain", deep=0.85), at=(0, -0.3, 0), scale=(p.belly, 1.05, p.belly)) + place(
        ball(0.5, "plain", deep=0.9), at=(0, 0.6, 0.05)
    )
    parts += place(ball(0.4, p.patch, deep=0.5), at=(0, -0.32, 0.36 * p.belly), scale=(p.belly, 1.1, 1))
    muzzle = place(ball(0.2, p.patch, wide=1.2), at=(0, 0.48, 0.42)) + place(
        ball(0.075, "dark", wide=1.3), at=(0, 0.56, 0.62)
    )
    eyes = [q for x in (-0.17, 0.17) for q in place(ball(0.06, "dark/glass"), at=(x, 0.7, 0.46))]
    ears = {
        "round": place(ball(0.17, "plain", deep=0.45), at=(0.37, 0.98, 0.02)),
        "large": place(ball(0.27, "plain", deep=0.45), at=(0.45, 0.98, 0.02)),
        "long": place(
            ball(0.2, "plain", deep=0.45), at=(0.26, 1.32, 0), turn=(0, 0, -10), scale=(0.75, 2.2, 1)
        ),
    }
    ear = ears[p.ears]
    arm = place(ball(0.21, "plain"), scale=(1, 1.9, 1), at=(0.66 * p.belly, -0.05, 0.12), turn=(0, 0, 38))
    leg = place(ball(0.26, "plain"), scale=(1, 1, 1.7), at=(0.42, -0.78, 0.35)) + place(
        disc(0.17, p.patch), at=(0.42, -0.78, 0.8), turn=(90, 0, 0)
    )
    parts += muzzle + eyes + ear + flipped(ear) + arm + flipped(arm) + leg + flipped(leg)
    if p.wears == "bow":
        bow = place(ball(0.13, "second", wide=1.5, deep=0.6), at=(0.2, 0.16, 0.45))
        parts += bow + flipped(bow) + place(ball(0.08, "second"), at=(0, 0.16, 0.5))
    elif p.wears == "scarf":
        parts += place(
            tube([(x, 0, z) for x, z in oval(0.85, 0.78)], 0.11, "main", closed=True, up=(0, 1, 0)),
            at=(0, 0.17, 0.02),
        ) + place(
            sheet([(-0.1, 0), (0.1, 0), (0.13, -0.5), (-0.13, -0.5)], 0.05, "main"),
            at=(0.18, 0.15, 0.5),
            turn=(-14, 0, 0),
        )
    elif p.wears == "jumper":
        parts += place(ball(0.65, "main", deep=0.87), at=(0, -0.26, 0), scale=(p.belly, 0.82, p.belly))
    return parts


def _toy_car(p: SimpleNamespace) -> list[Part]:
    cabins: dict[str, list[Point]] = {
        "saloon": [(-0.75, 0.2), (-0.5, 0.62), (0.25, 0.62), (0.55, 0.2)],
        "van": [(-1.05, 0.2), (-1.02, 0.85), (0.45, 0.85), (0.75, 0.2)],
        "pickup": [(-0.1, 0.2), (0.0, 0.68), (0.42, 0.68), (0.62, 0.2)],
        "beetle": [(-0.95, 0.15), (-0.7, 0.5), (-0.2, 0.72), (0.3, 0.62), (0.6, 0.2)],
    }
    body: list[Point] = [
        (-1.1, -0.2),
        (-1.15, 0.1),
        (-1.05, 0.25),
        (0.6, 0.25),
        (1.05, 0.15),
        (1.12, -0.05),
        (1.08, -0.2),
    ]
    parts = slab(body, 1.0, "plain", side="main") + slab(cabins[p.cabin], 0.86, "dark/glass", side="plain")
    roof = max(y for _, y in cabins[p.cabin])
    x0 = sum(x for x, y in cabins[p.cabin] if y == roof) / max(1, sum(y == roof for _, y in cabins[p.cabin]))
    for z in (-0.51, 0.51):
        parts += place(sheet(oval(1.5, 0.36, power=6), 0.0, "main", printed=True), at=(-0.05, 0.04, z))
        for x in (-0.65, 0.65):
            wheel = lathe(
                [(0, 0.02), (0.12, 0.02), (0.13, 0.09), (p.wheel, 0.1), (p.wheel, -0.1)],
                "dark/rubber",
                curved=False,
            )
            hub = place(disc(p.wheel * 0.6, p.hub), at=(0, 0.105, 0))
            parts += place(place(wheel + hub, turn=(90, 0, 0) if z > 0 else (-90, 0, 0)), at=(x, -0.25, z))
        parts += place(ball(0.08, "yellow/glass"), at=(1.1, 0.08, z * 0.65))
    tops = {
        "plain": [],
        "beacon": place(lathe([(0, 0.16), (0.1, 0.12), (0.12, 0)], "red/glass"), at=(x0, roof, 0)),
        "rack": [
            q
            for z in (-0.25, 0, 0.25)
            for q in tube([(x0 - 0.35, roof + 0.08, z), (x0 + 0.35, roof + 0.08, z)], 0.035, "steel/steel")
        ],
        "sign": place(box(0.4, 0.18, 0.2, "yellow/plastic"), at=(x0, roof + 0.09, 0)),
    }
    return parts + tops[p.roof]


def _ball_toy(p: SimpleNamespace) -> list[Part]:
    parts = ball(1.0, "main", deep=1.0, printed=True)
    for turn in (0.0, 180.0) if p.caps == "capped" else ():
        parts += place(lathe([(0, 1.012), (0.18, 0.995), (0.34, 0.95)], "second"), turn=(turn, 0, 0))
    seams = {"none": (), "one": (90.0,), "two": (60.0, 120.0), "crossed": (0.0, 90.0)}[p.seams]
    for turn in seams:
        parts += place(
            tube([(x, y, 0) for x, y in oval(2.01, 2.01)], 0.02, p.seam_paint, closed=True), turn=(0, turn, 0)
        )
    return parts


def _guitar(p: SimpleNamespace) -> list[Part]:
    halves: dict[str, list[Point]] = {
        "classic": [
            (0, 0.85),
            (0.3, 0.82),
            (0.5, 0.55),
            (0.42, 0.2),
            (0.62, -0.25),
            (0.55, -0.75),
            (0, -0.95),
        ],
        "cutaway": [
            (0, 0.7),
            (0.2, 0.6),
            (0.5, 0.75),
            (0.56, 0.45),
            (0.42, 0.15),
            (0.62, -0.3),
            (0.55, -0.78),
            (0, -0.95),
        ],
        "rounded": [(0, 0.8), (0.45, 0.7), (0.6, 0.2), (0.7, -0.3), (0.5, -0.8), (0, -0.95)],
    }
    body = place(slab(mirror(halves[p.body]), 0.22, "main", side=p.side), at=(0, -0.6, 0))
    hole = place(disc(0.2, "black"), at=(0, -0.35, 0.115), turn=(90, 0, 0)) + place(
        tube([(x, y, 0) for x, y in oval(0.44, 0.44)], 0.03, p.rosette, closed=True), at=(0, -0.35, 0.115)
    )
    bridge = place(box(0.42, 0.09, 0.06, "walnut/wooden"), at=(0, -1.05, 0.14))
    guard = (
        place(
            slab(
                smooth([(0, 0.1), (0.25, 0.05), (0.22, -0.35), (0.02, -0.3)], closed=True),
                0.01,
                "second/plastic",
            ),
            at=(0.2, -0.4, 0.115),
        )
        if p.guard == "guard"
        else []
    )
    return body + hole + bridge + guard + _guitar_neck(p, p.neck)


def _guitar_neck(p: SimpleNamespace, long: float) -> list[Part]:
    neck = place(box(0.16, long + 0.5, 0.09, "walnut/wooden"), at=(0, 0.05 + long / 2, 0.13))
    frets = [
        q
        for n in range(8)
        for q in place(box(0.16, 0.015, 0.02, "gold/steel"), at=(0, 0.2 + long * n / 8, 0.18))
    ]
    head = place(
        slab(
            [
                (-0.12, 0),
                (0.12, 0),
                (0.17, 0.45),
                (0.0 if p.head == "pointed" else 0.1, 0.55),
                (-0.1, 0.5),
                (-0.17, 0.45),
            ],
            0.07,
            p.side,
        ),
        at=(0, 0.28 + long, 0.11),
    )
    pegs = [
        q
        for n in range(3)
        for s in (-1, 1)
        for q in place(ball(0.05, p.peg), at=(s * 0.2, 0.4 + long + 0.13 * n, 0.1))
    ]
    strings = [
        q
        for n in range(4)
        for q in tube(
            [(-0.05 + 0.033 * n, -1.05, 0.19), (-0.05 + 0.033 * n, 0.3 + long, 0.2)],
            0.006,
            "steel/steel",
            up=(1, 0, 0),
        )
    ]
    return neck + frets + head + pegs + strings


LEAVES = [
    Leaf(
        ("Toys and music", "Toys", "Teddy bears"), "teddy bear", _teddy,
        numbers={"belly": (0.85, 1.15)},
        choices={"ears": ("round", "large", "long"), "wears": ("none", "bow", "scarf", "jumper"),
            "patch": ("cream/plush", "light/plush", "plain", "tan/plush")},
        feature="ears", colours=("brown", "tan", "grey", "cream", "pink"), materials=("plush",),
        patterns=("striped", "dotted", "checked", "hearts", "tartan", "plain"), pose=Pose(yaw=(-45, 45),
            pitch=(-2, 24)),
    ),
    Leaf(
        ("Toys and music", "Toys", "Toy cars"), "toy car", _toy_car,
        numbers={"wheel": (0.22, 0.34)},
        choices={"cabin": ("saloon", "van", "pickup", "beetle"), "roof": ("plain", "beacon", "rack",
            "sign"), "hub": ("steel/steel", "second", "light")},
        feature="roof", colours=BRIGHT, materials=("plastic", "wooden", "enamel"), patterns=("plain",
            "plain", "two-tone", "checked", "banded", "dotted"), prints=0.5, words=0.3, glyph_size=0.14,
        pose=Pose(yaw=(-50, 50), pitch=(6, 36)),
    ),
    Leaf(
        ("Toys and music", "Toys", "Balls"), "ball", _ball_toy,
        choices={"caps": ("plain", "capped"), "seams": ("none", "one", "two", "crossed"),
            "seam_paint": ("dark", "third", "light")},
        colours=BRIGHT, materials=("rubber", "leather", "plastic"), patterns=(*SIMPLE,
            "vertical-striped", "starry", "diamonds", "checked", "wavy"), prints=0.6, words=0.2,
        glyph_size=0.5, pose=Pose(yaw=(-40, 40), pitch=(-20, 35), roll=(-25, 25)),
    ),
    Leaf(
        ("Toys and music", "Instruments", "Guitars"), "guitar", _guitar,
        numbers={"neck": (0.9, 1.4)},
        choices={"body": ("classic", "cutaway", "rounded"), "guard": ("none", "guard"),
            "rosette": ("light", "dark", "gold/steel", "third"), "head": ("pointed", "flat"),
            "peg": ("light", "gold/steel", "dark"), "side": ("walnut/wooden", "plain", "dark")},
        feature="body", colours=("oak", "walnut", "red", "black", "sand", "blue"), materials=("wooden",
            "enamel"), patterns=("plain", "plain", "two-tone", "speckled"), pose=Pose(yaw=LYING.yaw,
            pitch=LYING.pitch, roll=(-60, 60), rest="flat"),
    ),
]  # fmt: skip
