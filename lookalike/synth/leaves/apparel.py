"""Leaves of clothing and headwear."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from lookalike.synth.geometry import (
    Array,
    Part,
    Point,
    ball,
    flipped,
    lathe,
    mirror,
    oval,
    place,
    sheet,
    smooth,
    tube,
)
from lookalike.synth.leaf import CLOTH, LYING, WOVEN, Leaf, Pose


def _sleeve_ends(length: str) -> list[Point]:
    """The sleeve of the right side, from the shoulder's end round to the armpit."""
    sleeves: dict[str, list[Point]] = {
        "short": [(1.08, 0.42), (0.84, 0.2)],
        "long": [(1.3, -0.35), (1.42, -0.75), (1.16, -0.8), (0.95, -0.2)],
        "cap": [(0.66, 0.8), (0.56, 0.55)],
    }
    return sleeves[length]


def _torso(p: SimpleNamespace, hem: float, flare: float = 0.0, waist: float = 0.0) -> Array:
    neck = {"crew": 0.86, "V": 0.62, "boat": 0.93}[p.neck]
    half: list[Point] = [
        (0.0, neck),
        (0.14, neck + 0.03) if p.neck != "V" else (0.12, neck + 0.14),
        (0.27, 1.0),
        (0.27, 1.0),
        (0.74, 0.84),
    ]
    half += [
        *_sleeve_ends(p.sleeves),
        (0.6, 0.42),
        (0.6, 0.42),
        (0.58 - waist, -0.15),
        (0.6 + flare, hem),
        (0.6 + flare, hem),
        (0, hem - 0.03),
    ]
    return mirror(half)


def _collar(p: SimpleNamespace) -> list[Part]:
    low = {"crew": 0.84, "V": 0.6, "boat": 0.92}[p.neck]
    middle: list[Point] = (
        [(-0.15, low + 0.04, 0.1), (0, low, 0.1), (0.15, low + 0.04, 0.1)]
        if p.neck != "V"
        else [(0, low, 0.1)]
    )
    return tube(
        [(-0.28, 1.0, 0.05), *middle, (0.28, 1.0, 0.05)], 0.045, p.trim, flat=0.5, curved=p.neck != "V"
    )


def _tshirt(p: SimpleNamespace) -> list[Part]:
    parts = sheet(_torso(p, -p.length), 0.13, bevel=0.35, creases=0.02, printed=True) + _collar(p)
    if p.pocket == "pocket":
        parts += place(sheet(oval(0.34, 0.36, power=6), 0.03, p.trim), at=(0.3, 0.4, 0.14))
    return parts


def _hoodie(p: SimpleNamespace) -> list[Part]:
    body = sheet(_torso(p, -0.95), 0.18, bevel=0.35, creases=0.03, printed=p.front == "closed")
    hood = place(
        sheet(
            smooth(
                [(-0.42, 0.85), (-0.45, 1.25), (0, 1.5), (0.45, 1.25), (0.42, 0.85), (0, 0.66)], closed=True
            ),
            0.2,
            "plain",
        ),
        at=(0, 0, 0),
    )
    lining = place(
        sheet(
            smooth(
                [(-0.27, 0.9), (-0.28, 1.15), (0, 1.3), (0.28, 1.15), (0.27, 0.9), (0, 0.74)], closed=True
            ),
            0.04,
            p.trim,
        ),
        at=(0, 0, 0.19),
    )
    parts = body + hood + lining
    if p.front == "zipped":
        parts += tube([(0, 0.7, 0.2), (0, -0.95, 0.19)], 0.035, "steel/steel", up=(1, 0, 0))
    pouch: list[Point] = [
        (-0.22, -0.2),
        (0.22, -0.2),
        (0.4, -0.62),
        (0.4, -0.75),
        (-0.4, -0.75),
        (-0.4, -0.62),
    ]
    if p.pocket == "pouch":
        parts += place(sheet(pouch, 0.04, "plain"), at=(0, 0, 0.17))
    for x in (-0.12, 0.12):
        parts += tube([(x, 0.72, 0.24), (x * 1.2, 0.72 - p.cords, 0.24)], 0.022, p.trim, up=(1, 0, 0))
    return parts + tube([(-0.6, -0.93, 0), (0, -0.97, 0.12), (0.6, -0.93, 0)], 0.06, p.trim, flat=0.6)


def _shirt(p: SimpleNamespace) -> list[Part]:
    parts = sheet(_torso(p, -1.0), 0.13, bevel=0.35, creases=0.02)
    parts += tube([(0, 0.62, 0.13), (0, -1.0, 0.12)], 0.07, "plain", up=(1, 0, 0), flat=0.3)
    for n in range(6):
        parts += place(ball(0.032, p.buttons), at=(0, 0.5 - 0.27 * n, 0.17))
    wing: list[Point] = (
        [(0.02, 0.64), (0.27, 1.02), (0.34, 0.98), (0.36, 0.72)]
        if p.collar == "pointed"
        else [(0.03, 0.66), (0.25, 1.02), (0.34, 0.95), (0.25, 0.7)]
    )
    collar = place(sheet(wing, 0.05, p.trim), at=(0, 0, 0.12))
    parts += collar + flipped(collar)
    pockets = {"none": (), "one": (0.3,), "two": (-0.3, 0.3)}[p.pockets]
    return parts + [
        q for x in pockets for q in place(sheet(oval(0.32, 0.36, power=6), 0.02, "plain"), at=(x, 0.32, 0.14))
    ]


def _trousers(p: SimpleNamespace) -> list[Part]:
    low = {"long": -1.6, "cropped": -1.0, "short": -0.2}[p.length]
    reach = (0.9 - low) / 2.5
    cuff = 0.5 + p.flare * reach
    half: list[Point] = [
        (0.0, 0.9),
        (0.45, 0.9),
        (0.45, 0.9),
        (0.55, 0.4),
        (cuff, low),
        (cuff, low),
        (cuff - 0.36, low),
        (cuff - 0.36, low),
        (0.06, 0.22),
        (0.0, 0.26),
    ]
    parts = sheet(mirror(half), 0.12, bevel=0.5, creases=0.02)
    parts += tube([(-0.46, 0.88, 0), (0, 0.86, 0.12), (0.46, 0.88, 0)], 0.07, p.band, flat=0.5)
    if p.tie == "drawstring":
        for x in (-0.08, 0.08):
            parts += tube([(x, 0.84, 0.16), (x * 1.6, 0.5, 0.17)], 0.025, "light", up=(1, 0, 0))
    elif p.tie == "button":
        parts += place(ball(0.05, "gold/steel"), at=(0, 0.86, 0.17))
    for s in (-1, 1):
        if p.pockets == "side":
            parts += tube([(s * 0.28, 0.8, 0.12), (s * 0.46, 0.5, 0.08)], 0.02, "second", up=(0, 0, 1))
        elif p.pockets == "cargo":
            parts += place(
                sheet(oval(0.24, 0.3, power=6), 0.05, "plain"),
                at=(s * (0.42 + p.flare * 0.25), max(low + 0.3, -0.2), 0.1),
            )
    return parts


def _skirt(p: SimpleNamespace) -> list[Part]:
    low = -0.9 * p.length
    hem = 0.55 + p.flare
    half: list[Point] = [
        (0, 0.8),
        (0.4, 0.8),
        (0.4, 0.8),
        (0.52, 0.4),
        (hem, low),
        (hem, low),
        (0, low - 0.1),
    ]
    parts = sheet(mirror(half), 0.14, bevel=0.6, creases=0.05 if p.hem != "straight" else 0.02)
    parts += tube([(-0.41, 0.78, 0), (0, 0.75, 0.14), (0.41, 0.78, 0)], 0.08, p.band, flat=0.5)
    if p.hem == "ruffled":
        parts += tube([(-hem, low, 0), (0, low - 0.1, 0.1), (hem, low, 0)], 0.11, "second", flat=0.7)
    elif p.hem == "bordered":
        parts += tube(
            [(-hem * 0.97, low + 0.12, 0.02), (0, low + 0.02, 0.14), (hem * 0.97, low + 0.12, 0.02)],
            0.05,
            "second",
            flat=0.3,
        )
    return parts


def _dress(p: SimpleNamespace) -> list[Part]:
    parts = sheet(
        _torso(p, -1.5 * p.length, flare=p.flare, waist=0.18), 0.13, bevel=0.4, creases=0.03
    ) + _collar(p)
    belts = {"none": [], "belted": [(-0.42, -0.15, 0.02), (0, -0.18, 0.15), (0.42, -0.15, 0.02)]}
    if p.belt == "belted":
        parts += tube(belts["belted"], 0.06, "second/leather", flat=0.5)
    elif p.belt == "bow":
        bow = place(sheet([(0, 0), (0.3, 0.16), (0.3, -0.16)], 0.06, "second"), at=(0, -0.15, 0.16))
        parts += (
            bow
            + flipped(bow)
            + tube([(-0.42, -0.15, 0.02), (0, -0.18, 0.15), (0.42, -0.15, 0.02)], 0.035, "second", flat=0.5)
        )
    return parts


def _cap(p: SimpleNamespace) -> list[Part]:
    crown = lathe(
        [(0, p.height), (0.35, 0.93 * p.height), (0.68, 0.62 * p.height), (0.8, 0.2), (0.82, 0)], deep=1.08
    )
    badge = place(
        sheet(oval(0.75, 0.6, power=2.6), 0.05, "main", printed=True),
        at=(0, 0.36 * p.height + 0.05, 0.8),
        turn=(-24, 0, 0),
    )
    length = {"curved": 0.75, "flat": 0.85, "short": 0.5}[p.brim]
    droop = 0.0 if p.brim == "flat" else -0.16
    x = np.linspace(-0.8, 0.8, 25)
    rows = [
        np.stack(
            [
                x * (1 - 0.12 * t),
                0.02 + droop * (t + 2.2 * (x / 0.8) ** 2 * t),
                0.86 * np.sqrt(np.maximum(1 - (x / 0.84) ** 2, 0))
                + length * t * np.sqrt(np.maximum(1.05 - (x / 0.84) ** 2, 0.02)),
            ],
            axis=1,
        )
        for t in np.linspace(0, 1, 9)
    ]
    brim = [Part(np.stack(rows).astype(np.float32), p.brim_paint)]
    button = place(ball(0.07, p.brim_paint), at=(0, p.height, 0))
    return crown + badge + brim + button


def _beanie(p: SimpleNamespace) -> list[Part]:
    h = p.height
    crown = lathe([(0, h), (0.35, 0.95 * h), (0.66, 0.62 * h), (0.74, 0.2), (0.74, 0)], printed=False)
    fold = {"wide": 0.42, "narrow": 0.24, "none": 0.08}[p.cuff]
    cuff = lathe([(0.76, fold), (0.81, fold * 0.9), (0.81, 0.04), (0.76, 0)], "second")
    top = {
        "pompom": place(ball(0.26, p.ball), at=(0, h + 0.14, 0)),
        "tab": place(tube([(0, 0, 0), (0, 0.16, 0)], 0.05, "second", up=(1, 0, 0)), at=(0, h, 0)),
        "plain": [],
    }[p.top]
    patch = (
        place(sheet(oval(0.4, 0.26, power=6), 0.03, "third", printed=False), at=(0, fold / 2, 0.81))
        if p.patch == "patch"
        else []
    )
    return crown + cuff + top + patch


def _sun_hat(p: SimpleNamespace) -> list[Part]:
    crowns: dict[str, list[Point]] = {
        "round": [(0.0, 0.75), (0.35, 0.7), (0.58, 0.4), (0.62, 0)],
        "flat": [(0.0, 0.6), (0.52, 0.6), (0.58, 0.52), (0.62, 0)],
        "creased": [(0.0, 0.55), (0.25, 0.72), (0.5, 0.6), (0.62, 0)],
    }
    w = p.brim
    brim = lathe(
        [(0.62, 0), (0.62 + w * 0.6, -0.03), (0.62 + w, 0.06 if p.edge == "upturned" else -0.14)],
        "main",
        deep=1.08,
    )
    ribbon = lathe([(0.625, 0.24 * p.band), (0.64, 0.12 * p.band), (0.645, 0)], "second/cotton", deep=1.08)
    bow = place(ball(0.1, "second/cotton", wide=1.5), at=(0.62, 0.1, 0.2)) if p.bow == "bow" else []
    return lathe(crowns[p.crown], deep=1.08) + brim + ribbon + bow


_FOLDED = Pose(yaw=LYING.yaw, pitch=LYING.pitch, roll=(-24, 24), rest="flat")
_WORN = Pose(yaw=(-55, 55), pitch=(2, 34), roll=(-8, 8))

LEAVES = [
    Leaf(
        ("Apparel", "Tops", "T-shirts"), "T-shirt", _tshirt,
        numbers={"length": (0.8, 1.2)},
        choices={"neck": ("crew", "V", "boat"), "sleeves": ("short", "short", "cap"), "trim": ("plain",
            "second", "third"), "pocket": ("none", "none", "pocket")},
        feature="neck", colours=CLOTH, materials=("cotton", "linen"), patterns=("plain", "plain",
            "striped", "pinstriped", "two-tone", "banded", "dotted"), prints=0.75, words=0.3,
        glyph_size=0.42, pose=_FOLDED,
    ),
    Leaf(
        ("Apparel", "Tops", "Hoodies"), "hoodie", _hoodie,
        numbers={"cords": (0.3, 0.7)},
        choices={"neck": ("crew",), "sleeves": ("long",), "front": ("closed", "zipped"),
            "pocket": ("pouch", "pouch", "none"), "trim": ("plain", "second", "third")},
        feature="front", colours=CLOTH, materials=("cotton", "wool"), patterns=("plain", "plain",
            "two-tone", "banded", "striped"), prints=0.7, words=0.4, pose=_FOLDED,
    ),
    Leaf(
        ("Apparel", "Tops", "Shirts"), "shirt", _shirt,
        choices={"neck": ("V",), "sleeves": ("long", "short"), "collar": ("pointed", "rounded"),
            "pockets": ("none", "one", "two"), "trim": ("plain", "main", "second"), "buttons": ("light",
            "dark", "third")},
        feature="sleeves", colours=("white", "sky", "navy", "pink", "olive"), materials=("cotton",
            "linen"), patterns=(*WOVEN, "vertical-striped", "leafy", "starry"), pose=_FOLDED,
    ),
    Leaf(
        ("Apparel", "Bottoms", "Trousers"), "trousers", _trousers,
        numbers={"flare": (-0.16, 0.3)},
        choices={"length": ("long", "cropped"), "tie": ("none", "drawstring", "button"),
            "pockets": ("side", "cargo", "none"), "band": ("plain", "second")},
        feature="pockets", colours=("navy", "black", "sand", "olive", "grey"), materials=("cotton",
            "wool"), patterns=("plain", "plain", "checked", "tartan", "vertical-striped"), pose=_FOLDED,
    ),
    Leaf(
        ("Apparel", "Bottoms", "Shorts"), "shorts", _trousers,
        numbers={"flare": (0.0, 0.5)},
        choices={"length": ("short",), "tie": ("none", "drawstring", "button"), "pockets": ("side",
            "cargo", "none"), "band": ("plain", "second", "third")},
        feature="tie", colours=("navy", "black", "sand", "red", "teal"), materials=("cotton", "nylon"),
        patterns=("plain", "floral", "striped", "leafy", "checked", "two-tone", "starry"), pose=_FOLDED,
    ),
    Leaf(
        ("Apparel", "Bottoms", "Skirts"), "skirt", _skirt,
        numbers={"length": (0.6, 1.4), "flare": (0.0, 0.5)},
        choices={"hem": ("straight", "ruffled", "bordered"), "band": ("plain", "second", "dark/leather")},
        feature="hem", colours=("navy", "black", "coral", "olive", "lilac"), materials=("cotton",
            "linen", "wool"), patterns=(*WOVEN, "leafy", "argyle"), pose=_FOLDED,
    ),
    Leaf(
        ("Apparel", "Dresses", "Dresses"), "dress", _dress,
        numbers={"length": (0.75, 1.2), "flare": (0.05, 0.5)},
        choices={"neck": ("crew", "V", "boat"), "sleeves": ("short", "cap", "long"), "belt": ("none",
            "belted", "bow"), "trim": ("plain", "second")},
        feature="sleeves", colours=("navy", "black", "coral", "mint", "red", "white"),
        materials=("cotton", "linen"), patterns=(*WOVEN, "leafy", "wavy", "hearts"), pose=_FOLDED,
    ),
    Leaf(
        ("Apparel", "Headwear", "Caps"), "cap", _cap,
        numbers={"height": (0.75, 1.05)},
        choices={"brim": ("curved", "flat", "short"), "brim_paint": ("plain", "second", "third")},
        feature="brim", colours=CLOTH, materials=("cotton", "canvas"), patterns=("plain", "plain",
            "vertical-striped", "checked", "two-tone"), prints=0.85, words=0.3, glyph_size=0.27,
        pose=Pose(yaw=(-60, 60), pitch=(2, 30), roll=(-8, 8)),
    ),
    Leaf(
        ("Apparel", "Headwear", "Beanies"), "beanie", _beanie,
        numbers={"height": (0.9, 1.3)},
        choices={"cuff": ("wide", "narrow", "none"), "top": ("pompom", "pompom", "tab", "plain"),
            "ball": ("second", "third", "plain", "light/plush"), "patch": ("none", "patch")},
        feature="cuff", colours=CLOTH, materials=("wool",), patterns=("plain", "striped", "chevron",
            "argyle", "diamonds", "wavy", "pinstriped"), pose=_WORN,
    ),
    Leaf(
        ("Apparel", "Headwear", "Sun hats"), "sun hat", _sun_hat,
        numbers={"brim": (0.35, 0.85), "band": (0.7, 1.5)},
        choices={"crown": ("round", "flat", "creased"), "edge": ("upturned", "drooping"), "bow": ("none",
            "bow")},
        feature="crown", colours=("sand", "cream", "tan", "black", "white"), materials=("linen",
            "canvas"), patterns=("plain", "plain", "striped", "checked"), pose=Pose(yaw=(-180, 180),
            pitch=(8, 40)),
    ),
]  # fmt: skip
