"""Leaves of the kitchen: drinkware, cookware, tableware."""

from __future__ import annotations

from types import SimpleNamespace

from lookalike.synth.geometry import Part, Point, ball, disc, lathe, oval, place, slab, tube
from lookalike.synth.leaf import GEAR, SIMPLE, SOFT, Leaf, Pose

_BODIES: dict[str, list[Point]] = {
    "straight": [(0.8, 1), (0.8, 0.3), (0.8, -0.4), (0.8, -0.9), (0.72, -1)],
    "tapered": [(0.92, 1), (0.82, 0.2), (0.7, -0.6), (0.64, -0.94), (0.58, -1)],
    "round": [(0.72, 1), (0.86, 0.4), (0.94, -0.2), (0.82, -0.8), (0.55, -1)],
    "flared": [(0.95, 1), (0.78, 0.5), (0.7, -0.2), (0.7, -0.85), (0.62, -1)],
    "waisted": [(0.86, 1), (0.7, 0.3), (0.7, -0.2), (0.86, -0.8), (0.8, -1)],
}
_HANDLES: dict[str, list[Point]] = {
    "round": [(0, 0.55, 0), (0.45, 0.6, 0), (0.62, 0.05, 0), (0.42, -0.5, 0), (0, -0.5, 0)],
    "square": [(0, 0.5, 0), (0.4, 0.5, 0), (0.5, 0.4, 0), (0.5, -0.4, 0), (0.4, -0.5, 0), (0, -0.5, 0)],
    "ear-shaped": [(0, 0.6, 0), (0.5, 0.75, 0), (0.6, 0.35, 0), (0.25, -0.2, 0), (0, -0.4, 0)],
    "small": [(0, 0.35, 0), (0.32, 0.38, 0), (0.4, 0.05, 0), (0.3, -0.25, 0), (0, -0.25, 0)],
    "pointed": [(0, 0.6, 0), (0.55, 0.22, 0), (0.65, 0.08, 0), (0.53, -0.1, 0), (0, -0.5, 0)],
}


def _wall(profile: list[Point], inside: str, *, thick: float = 0.05) -> list[Part]:
    """An open vessel: printed outside, inner wall, bottom."""
    inner = [
        (profile[0][0], profile[0][1]),
        *((max(r - thick, 0), y) for r, y in profile),
        (0, profile[-1][1] + 0.08),
    ]
    radius, low = profile[-1]
    return lathe(profile, printed=True) + lathe(inner, inside, curved=False) + disc(radius, "plain", y=low)


def _scaled(profile: list[Point], wide: float, tall: float) -> list[Point]:
    return [(r * wide, y * tall) for r, y in profile]


def _mug(p: SimpleNamespace) -> list[Part]:
    body = _scaled(_BODIES[p.body], 1.0, p.height)
    reach = 0.5 * (body[1][0] + body[2][0]) - 0.06
    handle = [(reach + x * p.loop, y * p.height, z) for x, y, z in _HANDLES[p.handle]]
    return _wall(body, p.inside) + tube(handle, p.thickness, p.grip, flat=1.5)


def _travel_cup(p: SimpleNamespace) -> list[Part]:
    h = p.height
    sleeve = {"wide": (0.45, -0.5), "narrow": (0.2, -0.25), "none": (-0.9, -0.91)}[p.sleeve]
    grip = [(0.62 + 0.11 * y, y * h) for y in sleeve]
    lid: dict[str, list[Point]] = {
        "domed": [(0, 0.32), (0.45, 0.26), (0.66, 0.08), (0.76, 0.0), (0.76, -0.06)],
        "flat": [(0, 0.1), (0.72, 0.1), (0.78, 0.06), (0.78, -0.06)],
        "stepped": [(0, 0.22), (0.5, 0.22), (0.5, 0.22), (0.55, 0.06), (0.78, 0.06), (0.78, -0.06)],
    }
    return [
        *lathe([(0.72, h), (0.66, 0.4 * h), (0.57, -0.4 * h), (0.5, -h)], printed=True),
        *lathe(grip, "third/rubber", wide=1.06, deep=1.06),
        *place(lathe(lid[p.lid], "second/plastic"), at=(0, h, 0)),
        *place(ball(0.09, "second/plastic", wide=1.6), at=(0.1, h + 0.14, 0.42)),
        *disc(0.5, "plain", y=-h),
    ]


def _teapot(p: SimpleNamespace) -> list[Part]:
    w = p.width
    bodies: dict[str, list[Point]] = {
        "globe": [(0.35, 0.75), (0.8, 0.45), (1, 0), (0.8, -0.5), (0.5, -0.75)],
        "cone": [(0.4, 0.8), (0.6, 0.3), (0.85, -0.3), (1, -0.7), (0.95, -0.8)],
        "drum": [(0.5, 0.7), (0.85, 0.6), (0.9, 0), (0.88, -0.6), (0.7, -0.75)],
    }
    spouts: dict[str, list[Point]] = {
        "curved": [(-0.7 * w, -0.35, 0), (-1.15 * w, -0.2, 0), (-1.2 * w, 0.3, 0), (-1.55 * w, 0.62, 0)],
        "straight": [(-0.6 * w, -0.15, 0), (-1.1 * w, 0.25, 0), (-1.5 * w, 0.6, 0)],
    }
    side = [
        (0.8 * w, 0.45, 0),
        (1.35 * w, 0.6, 0),
        (1.5 * w, 0.05, 0),
        (1.2 * w, -0.4, 0),
        (0.8 * w, -0.4, 0),
    ]
    over = [(-0.55 * w, 0.55, 0), (-0.6 * w, 1.25, 0), (0, 1.6, 0), (0.6 * w, 1.25, 0), (0.55 * w, 0.55, 0)]
    lid: list[Point] = [(0, 0.28), (0.25, 0.22), (0.42, 0.05), (0.44, 0)]
    knob = (
        place(ball(0.13, "second"), at=(0, 1.05, 0))
        if p.knob == "ball"
        else place(lathe([(0, 0.2), (0.16, 0.16), (0.16, 0.1), (0.06, 0.0)], "second"), at=(0, 0.97, 0))
    )
    return [
        *lathe(_scaled(bodies[p.body], w, 1), printed=True),
        *tube(spouts[p.spout], [0.24, 0.17, 0.13, 0.1][: len(spouts[p.spout])], "plain"),
        *tube(side if p.handle == "side" else over, 0.085, p.grip, flat=1.4),
        *place(lathe(lid, "plain"), at=(0, 0.74, 0)),
        *knob,
        *disc(0.6 * w, "plain", y=-0.76),
    ]


def _saucepan(p: SimpleNamespace) -> list[Part]:
    h = p.height
    body: list[Point] = [(1, h), (1, h), (0.99, -0.4 * h), (0.9, -0.95 * h), (0.8, -h)]
    parts = lathe(body, printed=False) + lathe(
        [(1, h), (0.95, h), (0.93, -0.8 * h), (0, -0.85 * h)], "steel/steel"
    )
    parts += disc(0.8, "plain", y=-h)
    long = [(0.95, 0.6 * h, 0), (1.4, 0.7 * h, 0), (2.1 + p.reach, 0.85 * h, 0)]
    if p.handle == "long":
        parts += tube(long, [0.07, 0.09, 0.11], p.grip, flat=1.7)
    else:
        ear = tube(
            [(0.97, 0.6 * h, 0.25), (1.3, 0.62 * h, 0.25), (1.3, 0.62 * h, -0.25), (0.97, 0.6 * h, -0.25)],
            0.07,
            p.grip,
            up=(0, 1, 0),
        )
        parts += ear + place(ear, turn=(0, 180, 0))
    if p.lid == "lidded":
        parts += place(lathe([(0, 0.25), (0.5, 0.2), (0.95, 0.05), (1.02, 0)], "plain"), at=(0, h, 0))
        parts += place(ball(0.13, p.grip, wide=1.3), at=(0, h + 0.33, 0))
    return parts


def _frying_pan(p: SimpleNamespace) -> list[Part]:
    bowl = lathe([(1, 0.22), (0.96, 0.1), (0.86, -0.05), (0.8, -0.1)], "main")
    inner = lathe([(1, 0.22), (0.97, 0.22), (0.84, 0), (0, -0.02)], p.coating)
    ends: dict[str, list[float]] = {
        "slim": [0.05, 0.06, 0.07],
        "wide": [0.07, 0.12, 0.15],
        "tapered": [0.13, 0.1, 0.06],
    }
    handle = tube(
        [(0.9, 0.15, 0), (1.4, 0.28, 0), (1.9 + p.reach, 0.36, 0)],
        ends[p.handle],
        p.grip,
        flat=0.6,
        up=(0, 1, 0),
    )
    rivets = [q for z in (-0.07, 0.07) for q in place(ball(0.04, "steel/steel"), at=(0.86, 0.2, z))]
    return bowl + inner + handle + rivets + disc(0.8, "plain", y=-0.1)


def _bowl(p: SimpleNamespace) -> list[Part]:
    h = p.height
    profiles: dict[str, list[Point]] = {
        "deep": [(1, h), (0.95, 0.4 * h), (0.75, -0.4 * h), (0.4, -0.9 * h)],
        "conical": [(1.1, h), (0.85, 0.3 * h), (0.6, -0.4 * h), (0.38, -0.9 * h)],
        "rimmed": [(1.2, h), (0.95, 0.85 * h), (0.85, 0.1 * h), (0.45, -0.9 * h)],
    }
    body = profiles[p.body]
    foot = {"low": 0.06, "tall": 0.3}[p.foot]
    return [
        *_wall(body, p.inside),
        *lathe(
            [(body[-1][0] - 0.04, -0.88 * h), (body[-1][0] + 0.04, -0.9 * h - foot)], "second", curved=False
        ),
    ]


def _plate(p: SimpleNamespace) -> list[Part]:
    power = {"round": 2.0, "square": 5.0, "soft-square": 3.0}[p.shape]
    face = slab(oval(2, 2, power=power), 0.05, printed=True)
    width = p.rim
    loop = [(x, y, 0.04) for x, y in oval(2 - width, 2 - width, power=power)]
    edge = [(x, y, 0.03) for x, y in oval(1.97, 1.97, power=power)]
    rim = tube(edge, 0.05, "second", closed=True)
    ring = tube(loop, 0.03 if p.line == "thin" else 0.07, "third", closed=True, flat=0.3)
    return face + rim + (ring if p.line != "no" else [])


LEAVES = [
    Leaf(
        ("Kitchen", "Drinkware", "Mugs"), "mug", _mug,
        numbers={"height": (0.75, 1.25), "loop": (0.8, 1.15), "thickness": (0.07, 0.13)},
        choices={"body": tuple(_BODIES), "handle": tuple(_HANDLES), "inside": ("light", "second"),
            "grip": ("plain", "second")},
        feature="handle", materials=("ceramic", "enamel"), patterns=SIMPLE, prints=0.5, words=0.2,
    ),
    Leaf(
        ("Kitchen", "Drinkware", "Travel cups"), "travel cup", _travel_cup,
        numbers={"height": (1.0, 1.5)},
        choices={"lid": ("domed", "flat", "stepped"), "sleeve": ("wide", "narrow", "none")},
        feature="lid", colours=SOFT, materials=("steel", "plastic"), patterns=SIMPLE, prints=0.5,
        words=0.3, glyph_size=0.3,
    ),
    Leaf(
        ("Kitchen", "Drinkware", "Teapots"), "teapot", _teapot,
        numbers={"width": (0.85, 1.2)},
        choices={"body": ("globe", "cone", "drum"), "spout": ("curved", "straight"), "handle": ("side",
            "overhead"), "knob": ("ball", "button"), "grip": ("plain", "second", "oak/wooden")},
        feature="handle", colours=SOFT, materials=("ceramic", "enamel"), patterns=(*SIMPLE, "floral",
            "leafy"), prints=0.3,
    ),
    Leaf(
        ("Kitchen", "Cookware", "Saucepans"), "saucepan", _saucepan,
        numbers={"height": (0.4, 0.75), "reach": (0.0, 0.5)},
        choices={"handle": ("long", "loop"), "lid": ("lidded", "open"), "grip": ("dark/plastic",
            "oak/wooden", "steel/steel")},
        feature="handle", colours=("steel", "red", "black", "cream", "teal"), materials=("enamel",
            "steel"), patterns=("plain", "banded", "two-tone"),
    ),
    Leaf(
        ("Kitchen", "Cookware", "Frying pans"), "frying pan", _frying_pan,
        numbers={"reach": (0.0, 0.6)},
        choices={"handle": ("slim", "wide", "tapered"), "grip": ("dark/plastic", "oak/wooden",
            "steel/steel", "second/plastic"), "coating": ("black/enamel", "grey/enamel",
            "steel/steel")},
        feature="handle", colours=GEAR, materials=("enamel",), pose=Pose(pitch=(22, 60)),
    ),
    Leaf(
        ("Kitchen", "Tableware", "Bowls"), "bowl", _bowl,
        numbers={"height": (0.4, 0.7)},
        choices={"body": ("deep", "conical", "rimmed"), "foot": ("low", "tall"), "inside": ("light",
            "second", "plain")},
        colours=SOFT, materials=("ceramic", "wooden", "enamel"), patterns=(*SIMPLE, "wavy", "chevron"),
        prints=0.2, glyph_size=0.3, pose=Pose(pitch=(10, 45)),
    ),
    Leaf(
        ("Kitchen", "Tableware", "Plates"), "plate", _plate,
        numbers={"rim": (0.3, 0.7)},
        choices={"shape": ("round", "square", "soft-square"), "line": ("no", "thin", "thick")},
        colours=SOFT, materials=("ceramic",), patterns=("plain", "speckled", "floral", "leafy",
            "checked", "wavy"), prints=0.6, glyph_size=0.5,
        pose=Pose(yaw=(-25, 25), pitch=(-35, 20), roll=(-40, 40), rest="flat"),
    ),
]  # fmt: skip
