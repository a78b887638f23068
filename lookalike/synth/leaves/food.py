"""Leaves of packed food and drinks."""

from __future__ import annotations

from types import SimpleNamespace

from lookalike.synth.geometry import Part, Point, box, disc, lathe, oval, place, sheet, slab
from lookalike.synth.leaf import Leaf, Pose


def _carton(p: SimpleNamespace) -> list[Part]:
    h = p.height
    front = box(1.1, 2 * h, 1.0, "main", side="main", printed=True)
    roof_low, roof_high = h, h + 0.45
    if p.top == "gable":
        front += place(
            slab([(-0.5, roof_low), (0.5, roof_low), (0, roof_high)], 1.1, "plain", side="plain"),
            turn=(0, 90, 0),
        ) + place(box(1.1, 0.2, 0.05, "second"), at=(0, roof_high + 0.08, 0))
    if p.cap != "none":
        y, z, turn = (h + 0.25, 0.26, 42.0) if p.top == "gable" else (h, 0.0, 0.0)
        front += place(
            lathe([(0, 0.16), (0.19, 0.16), (0.2, 0)], p.cap, curved=False),
            at=(0.15, y, z),
            turn=(turn, 0, 0),
        )
    if p.window != "none":
        shape = oval(0.8, 0.4 if p.window == "wide" else 0.8, power=2 if p.window == "round" else 5)
        front += place(slab(shape, 0.01, "second", printed=False), at=(0, -h + 0.45, 0.51))
    return front


def _can(p: SimpleNamespace) -> list[Part]:
    h = p.height
    slim: list[Point] = [(0.42, h), (0.44, h - 0.05), (0.54, h - 0.18), (0.54, -h + 0.12), (0.46, -h)]
    straight: list[Point] = [(0.58, h), (0.58, h), (0.58, -h), (0.58, -h)]
    body = slim if p.body == "drinks" else straight
    r = body[0][0]
    parts = lathe(body, "main", printed=True) + lathe(
        [(r, h), (r - 0.04, h + 0.02), (r - 0.06, h - 0.04), (0, h - 0.04)], "steel/steel", curved=False
    )
    parts += lathe([(r + 0.02, h + 0.02), (r + 0.02, h - 0.03)], "steel/steel", curved=False) + disc(
        body[-1][0], "steel/steel", y=-h
    )
    tab = place(slab(oval(0.3, 0.2), 0.03, p.tab), at=(0.08, h + 0.0, 0), turn=(-90, 0, 0))
    rings = [
        q
        for n in range({"smooth": 0, "ribbed": 3}[p.side])
        for q in place(
            lathe(
                [
                    (0.585 if p.body != "drinks" else 0.545, 0.02),
                    (0.6 if p.body != "drinks" else 0.56, 0),
                    (0.585 if p.body != "drinks" else 0.545, -0.02),
                ],
                "plain",
            ),
            at=(0, -0.6 * h + 0.6 * h * n, 0),
        )
    ]
    return parts + tab + rings


def _jar(p: SimpleNamespace) -> list[Part]:
    h = 0.8 * p.height
    bodies: dict[str, list[Point]] = {
        "straight": [(0.5, h), (0.66, h - 0.15), (0.68, 0), (0.68, -h + 0.08), (0.6, -h)],
        "round": [(0.48, h), (0.62, h - 0.2), (0.82, 0), (0.7, -h + 0.15), (0.5, -h)],
        "conical": [(0.5, h), (0.55, h - 0.2), (0.68, -0.3), (0.76, -h + 0.06), (0.68, -h)],
    }
    power = 4.0 if p.section == "square" else 2.0
    parts = lathe(bodies[p.body], p.content, power=power) + disc(bodies[p.body][-1][0], "dark", y=-h)
    label = {"wide": oval(1.0, 0.75, power=6), "oval": oval(0.95, 0.7), "small": oval(0.6, 0.45, power=4)}[
        p.label
    ]
    depth = {"straight": 0.68, "round": 0.8, "conical": 0.7}[p.body]
    parts += (
        lathe([(depth + 0.012, 0.3), (depth + 0.012, -0.35)], "main", power=power, printed=True)
        if p.label == "wide"
        else place(sheet(label, 0.03, "main", printed=True), at=(0, -0.02, depth))
    )
    lid = lathe([(0, 0.24), (0.54, 0.24), (0.57, 0.2), (0.57, 0)], p.lid)
    return parts + place(lid, at=(0, h - 0.02, 0))


_PACK = ("plain", "striped", "two-tone", "banded", "diagonal-striped", "wavy", "dotted", "leafy", "chevron")

LEAVES = [
    Leaf(
        ("Food", "Drinks", "Cartons"), "carton", _carton,
        numbers={"height": (0.75, 1.3)},
        choices={"top": ("gable", "flat"), "cap": ("none", "light/plastic", "third/plastic",
            "red/plastic"), "window": ("none", "wide", "round")},
        feature="top", colours=("white", "green", "blue", "orange", "cream"), materials=("paper",),
        patterns=_PACK, prints=0.9, words=0.8, glyph_size=0.42, pose=Pose(yaw=(-38, 38), pitch=(3, 26)),
    ),
    Leaf(
        ("Food", "Drinks", "Cans"), "can", _can,
        numbers={"height": (0.65, 1.25)},
        choices={"body": ("drinks", "straight"), "side": ("smooth", "ribbed"), "tab": ("steel/steel",
            "second", "gold/steel")},
        feature="side", colours=("red", "blue", "green", "white", "black", "orange"),
        materials=("enamel", "steel"), patterns=_PACK, prints=0.85, words=0.8, glyph_size=0.38,
        pose=Pose(yaw=(-35, 35), pitch=(4, 32)),
    ),
    Leaf(
        ("Food", "Pantry", "Jars"), "jar", _jar,
        numbers={"height": (0.75, 1.25)},
        choices={"body": ("straight", "round", "conical"), "section": ("round", "square"),
            "label": ("wide", "oval", "small"), "lid": ("gold/steel", "second", "light", "third"),
            "content": ("burgundy/glass", "mustard/glass", "orange/glass", "brown/glass",
            "olive/glass")},
        feature="label", colours=("cream", "white", "black", "sand", "mint"), materials=("paper",),
        patterns=("plain", "plain", "checked", "banded", "leafy", "two-tone", "striped"), prints=0.85,
        words=0.7, glyph_size=0.28, pose=Pose(yaw=(-30, 30), pitch=(3, 28)),
    ),
]  # fmt: skip
