"""Leaves of beauty, electronics, toys, music and food."""

from __future__ import annotations

from types import SimpleNamespace

from lookalike.synth.geometry import Part, Point, ball, box, disc, flipped, lathe, mirror, oval, place, rounded, sheet, slab, smooth, tube
from lookalike.synth.leaf import BRIGHT, FRONTAL, GEAR, LYING, SIMPLE, Leaf, Pose


def _pump_bottle(p: SimpleNamespace) -> list[Part]:
    h = p.height
    bodies: dict[str, list[Point]] = {
        "round": [(0.12, h), (0.42, 0.92 * h), (0.5, 0.7 * h), (0.5, 0), (0.5, -0.95 * h), (0.44, -h)],
        "square": [(0.12, h), (0.48, 0.97 * h), (0.5, 0.9 * h), (0.5, 0), (0.5, -0.97 * h), (0.46, -h)],
        "curvy": [(0.12, h), (0.36, 0.86 * h), (0.52, 0.4 * h), (0.4, -0.1 * h), (0.52, -0.8 * h), (0.44, -h)],
    }
    power = 5.0 if p.body == "square" else 2.2
    parts = lathe(bodies[p.body], "plain", deep=0.75, power=power)
    label = lathe([(0.512, 0.45 * h), (0.512, -0.7 * h)], "main", deep=0.75, power=power, printed=True) if p.body != "curvy" else place(sheet(oval(0.62, 1.0 * h, power=3), 0.06, "main", printed=True), at=(0, -0.1 * h, 0.34))
    neck = lathe([(0.16, h + 0.14), (0.2, h + 0.12), (0.2, h - 0.02)], p.cap)
    heads = {
        "pump": tube([(0, h + 0.1, 0), (0, h + 0.34, 0)], 0.05, p.cap, up=(1, 0, 0)) + tube([(-0.16, h + 0.36, 0), (0.2, h + 0.38, 0), (0.5, h + 0.3, 0)], [0.1, 0.09, 0.05], p.cap),
        "spray": place(rounded(0.34, 0.34, 0.26, p.cap, edge=0.4), at=(0.06, h + 0.3, 0)) + tube([(0.16, h + 0.36, 0), (0.34, h + 0.37, 0)], 0.06, p.cap) + tube([(0.2, h + 0.25, 0), (0.3, h + 0.05, 0), (0.26, h - 0.12, 0)], 0.04, p.cap, flat=1.6),
        "flip": lathe([(0, h + 0.34), (0.24, h + 0.34), (0.27, h + 0.1), (0.26, h)], p.cap),
    }
    return parts + label + neck + heads[p.head]


def _perfume(p: SimpleNamespace) -> list[Part]:
    bodies = {
        "square": rounded(1.3, 1.3 * p.height, 0.6, "main", power=9, printed=True),
        "round": place(lathe([(0, 0.35), (0.5, 0.33), (0.68, 0.15), (0.7, 0), (0.68, -0.15), (0.5, -0.33), (0, -0.35)], "main", printed=False), turn=(90, 0, 0)),
        "tapered": rounded(1.3, 1.4 * p.height, 0.6, "main", taper=0.55, power=4, printed=True),
        "faceted": lathe([(0.25, 0.65), (0.68, 0.25), (0.5, -0.65), (0, -0.65)], "main", power=3, deep=0.8, curved=False, printed=True),
    }
    top = {"square": 0.65 * p.height, "round": 0.66, "tapered": 0.7 * p.height, "faceted": 0.65}[p.body]
    collar = lathe([(0.19, top + 0.16), (0.19, top - 0.03)], "gold/steel", curved=False)
    caps = {"cube": rounded(0.46, 0.4, 0.46, p.cap, power=8), "ball": ball(0.27, p.cap), "tall": lathe([(0, 0.34), (0.2, 0.34), (0.22, -0.2)], p.cap, curved=False), "flat": lathe([(0, 0.08), (0.36, 0.08), (0.36, -0.1)], p.cap, curved=False)}
    label = place(sheet(oval(0.55, 0.4, power=6), 0.02, p.label, printed=True), at=(0, -0.02, 0.31 if p.body != "faceted" else 0.5)) if p.label != "none" and p.body != "round" else []
    return bodies[p.body] + collar + place(caps[p.caps], at=(0, top + 0.32, 0)) + label


def _lipstick(p: SimpleNamespace) -> list[Part]:
    power = 6.0 if p.case == "square" else 2.0
    r = 0.36
    base = lathe([(r, 0.1), (r, 0.1), (r, -0.9 * p.height), (0, -0.9 * p.height)], "main", power=power, curved=False, printed=True)
    sleeve = lathe([(0, 0.42), (r * 0.82, 0.42), (r * 0.82, 0.08)], p.metal, power=power, curved=False)
    ring = lathe([(r * 1.04, 0.12), (r * 1.04, 0.04)], p.band, power=power, curved=False)
    top = {"slanted": 0.95, "pointed": 1.05, "flat": 0.85}[p.tip]
    bullet: list[Point] = {"slanted": [(0, top), (0.12, top - 0.04), (0.22, top - 0.28), (0.23, 0.4)], "pointed": [(0, top), (0.1, top - 0.14), (0.22, top - 0.4), (0.23, 0.4)], "flat": [(0, top), (0.2, top), (0.23, top - 0.06), (0.23, 0.4)]}[p.tip]
    cap = place(lathe([(0, 0.55), (r, 0.55), (r, -0.45), (0, -0.45)], "plain", power=power, curved=False), at=(1.0, -0.9 * p.height + 0.45, 0.1)) if p.cap == "beside" else []
    return base + sleeve + ring + lathe(bullet, p.shade) + cap


def _headphones(p: SimpleNamespace) -> list[Part]:
    band_path: list[Point] = [(-0.85, -0.1, 0), (-0.86, 0.5, 0), (-0.55, 1.0, 0), (0, 1.18, 0), (0.55, 1.0, 0), (0.86, 0.5, 0), (0.85, -0.1, 0)]
    wide = {"thin": 0.06, "padded": 0.13, "double": 0.05}[p.band]
    parts = tube(band_path, wide * 0.5, "plain", flat=3.0)
    if p.band == "double":
        parts += place(tube(band_path, 0.05, "plain"), scale=(0.95, 0.88, 1))
    elif p.band == "padded":
        parts += tube([(-0.5, 0.93, 0), (0, 1.08, 0), (0.5, 0.93, 0)], 0.09, "second/leather", flat=2.2)
    deep = 0.85 if p.cup == "oval" else 1.0
    cup = lathe([(0, 0.2), (0.36 * p.size, 0.18), (0.46 * p.size, 0.05), (0.46 * p.size, -0.05)], "main", deep=deep)
    pad = lathe([(0.44 * p.size, -0.02), (0.5 * p.size, -0.12), (0.42 * p.size, -0.24), (0.2, -0.24)], p.pad, deep=deep)
    dot = place(disc(0.2, p.badge), at=(0, 0.195, 0))
    right = place(place(cup + pad + dot, turn=(0, 0, -90)), at=(0.95, -0.25, 0), turn=(0, 22, 0))
    parts += right + flipped(right)
    if p.cable == "wired":
        parts += tube([(-0.95, -0.65, 0), (-0.9, -1.0, 0.1), (-0.4, -1.1, 0.3), (0.1, -1.0, 0.3), (0.5, -1.15, 0.3)], 0.025, "dark", up=(0, 0, 1))
    elif p.cable == "microphone":
        parts += tube([(0.95, -0.35, 0.2), (0.75, -0.75, 0.6), (0.35, -0.85, 0.8)], [0.03, 0.03, 0.07], "dark", up=(0, 1, 0))
    return parts


def _speaker(p: SimpleNamespace) -> list[Part]:
    w, h = 0.62 * p.width, 1.0
    parts = box(2 * w, 2 * h, 1.0, "main", side="plain") if p.body == "boxy" else rounded(2 * w, 2 * h, 1.0, "main", edge=0.4)
    cones = {"two": [(0.45, 0.62), (-0.35, 1.0)], "three": [(0.68, 0.4), (0.2, 0.5), (-0.45, 0.95)], "one": [(-0.1, 1.15)]}[p.cones]
    for y, size in cones:
        r = 0.45 * size
        ring = lathe([(r * 1.12, 0), (r * 1.14, 0.04), (r, 0.05), (r * 0.4, -0.02), (r * 0.3, 0.04), (0, 0.08)], p.cone)
        parts += place(ring, at=(0, y, 0.5), turn=(90, 0, 0)) + place(tube([(x, z, 0) for x, z in oval(2.2 * r, 2.2 * r)], 0.035, p.ring, closed=True), at=(0, y, 0.52))
    if p.foot == "legs":
        parts += [q for sx in (-1, 1) for sz in (-1, 1) for q in tube([(sx * w * 0.7, -h, sz * 0.35), (sx * w * 0.85, -h - 0.4, sz * 0.42)], 0.05, "oak/wooden", up=(1, 0, 0))]
    return parts + place(rounded(0.28, 0.08, 0.03, "gold/steel"), at=(0, -0.9, 0.51))


def _camera(p: SimpleNamespace) -> list[Part]:
    w = 1.05 * p.width
    parts = rounded(2 * w, 0.95, 0.5, "main", edge=0.3, power=5) + place(rounded(2 * w * 0.98, 0.3, 0.48, p.top, edge=0.3, power=5), at=(0, 0.52, 0))
    if p.hump == "prism":
        parts += place(rounded(0.6, 0.36, 0.46, p.top, taper=0.6), at=(p.offset, 0.78, 0))
    elif p.hump == "flash":
        parts += place(rounded(0.4, 0.22, 0.3, "light/glass"), at=(0.55, 0.62, 0.14))
    for r, low, high, paint in ((0.46, 0.2, 0.45, "dark"), (0.4, 0.4, 0.45 + 0.5 * p.lens, "dark"), (0.42, 0.5, 0.56, p.ring)):
        parts += place(lathe([(r, high), (r, low)], paint, curved=False), at=(p.offset, 0, 0), turn=(90, 0, 0))
    parts += place(lathe([(0.4, 0), (0.3, -0.08), (0, -0.03)], "navy/glass"), at=(p.offset, 0, 0.45 + 0.5 * p.lens), turn=(90, 0, 0))
    dials = {"one": (-0.7,), "two": (-0.75, 0.75), "three": (-0.8, -0.5, 0.75)}[p.dials]
    for x in dials:
        parts += place(lathe([(0, 0.1), (0.13, 0.1), (0.14, 0)], "steel/steel", curved=False), at=(x * p.width, 0.68, 0))
    if p.strap == "strap":
        parts += tube([(-w, 0.5, 0), (-w - 0.15, 0.1, 0.1), (-w * 0.9, -0.62, 0.5), (0.2, -0.6, 0.75), (w * 0.9, -0.6, 0.5), (w + 0.15, 0.1, 0.1), (w, 0.5, 0)], 0.06, "second/leather", flat=0.4, up=(0, 1, 0))
    return parts


def _teddy(p: SimpleNamespace) -> list[Part]:
    parts = place(ball(0.62, "plain", deep=0.85), at=(0, -0.3, 0), scale=(p.belly, 1.05, p.belly)) + place(ball(0.5, "plain", deep=0.9), at=(0, 0.6, 0.05))
    parts += place(ball(0.4, p.patch, deep=0.5), at=(0, -0.32, 0.36 * p.belly), scale=(p.belly, 1.1, 1))
    muzzle = place(ball(0.2, p.patch, wide=1.2), at=(0, 0.48, 0.42)) + place(ball(0.075, "dark", wide=1.3), at=(0, 0.56, 0.62))
    eyes = [q for x in (-0.17, 0.17) for q in place(ball(0.06, "dark/glass"), at=(x, 0.7, 0.46))]
    ears_at = {"round": (0.17, (0.37, 0.98)), "large": (0.27, (0.45, 0.98)), "long": (0.2, (0.24, 1.25))}
    size, (x, y) = ears_at[p.ears]
    ear = place(ball(size, "plain", deep=0.45), at=(x, y, 0.02), scale=(0.75, 1.9, 1) if p.ears == "long" else 1.0)
    if p.ears == "long":
        ear = place(ball(size, "plain", deep=0.45), at=(0, 0, 0), scale=(0.75, 2.2, 1))
        ear = place(ear, at=(0.26, 1.32, 0), turn=(0, 0, -10))
    arm = place(ball(0.21, "plain"), scale=(1, 1.9, 1), at=(0.66 * p.belly, -0.05, 0.12), turn=(0, 0, 38))
    leg = place(ball(0.26, "plain"), scale=(1, 1, 1.7), at=(0.42, -0.78, 0.35)) + place(disc(0.17, p.patch), at=(0.42, -0.78, 0.8), turn=(90, 0, 0))
    parts += muzzle + eyes + ear + flipped(ear) + arm + flipped(arm) + leg + flipped(leg)
    if p.wears == "bow":
        bow = place(ball(0.13, "second", wide=1.5, deep=0.6), at=(0.2, 0.16, 0.45))
        parts += bow + flipped(bow) + place(ball(0.08, "second"), at=(0, 0.16, 0.5))
    elif p.wears == "scarf":
        parts += place(tube([(x, 0, z) for x, z in oval(0.85, 0.78)], 0.11, "main", closed=True, up=(0, 1, 0)), at=(0, 0.17, 0.02)) + place(sheet([(-0.1, 0), (0.1, 0), (0.13, -0.5), (-0.13, -0.5)], 0.05, "main"), at=(0.18, 0.15, 0.5), turn=(-14, 0, 0))
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
    body: list[Point] = [(-1.1, -0.2), (-1.15, 0.1), (-1.05, 0.25), (0.6, 0.25), (1.05, 0.15), (1.12, -0.05), (1.08, -0.2)]
    parts = slab(body, 1.0, "plain", side="main") + slab(cabins[p.cabin], 0.86, "dark/glass", side="plain")
    roof = max(y for _, y in cabins[p.cabin])
    x0 = sum(x for x, y in cabins[p.cabin] if y == roof) / max(1, sum(y == roof for _, y in cabins[p.cabin]))
    for z in (-0.51, 0.51):
        parts += place(sheet(oval(1.5, 0.36, power=6), 0.0, "main", printed=True), at=(-0.05, 0.04, z))
        for x in (-0.65, 0.65):
            wheel = lathe([(0, 0.02), (0.12, 0.02), (0.13, 0.09), (p.wheel, 0.1), (p.wheel, -0.1)], "dark/rubber", curved=False)
            hub = place(disc(p.wheel * 0.6, p.hub), at=(0, 0.105, 0))
            parts += place(place(wheel + hub, turn=(90, 0, 0) if z > 0 else (-90, 0, 0)), at=(x, -0.25, z))
        parts += place(ball(0.08, "yellow/glass"), at=(1.1, 0.08, z * 0.65))
    tops = {"plain": [], "beacon": place(lathe([(0, 0.16), (0.1, 0.12), (0.12, 0)], "red/glass"), at=(x0, roof, 0)), "rack": [q for z in (-0.25, 0, 0.25) for q in tube([(x0 - 0.35, roof + 0.08, z), (x0 + 0.35, roof + 0.08, z)], 0.035, "steel/steel")], "sign": place(box(0.4, 0.18, 0.2, "yellow/plastic"), at=(x0, roof + 0.09, 0))}
    return parts + tops[p.roof]


def _ball_toy(p: SimpleNamespace) -> list[Part]:
    parts = ball(1.0, "main", deep=1.0, printed=True)
    for turn in (0.0, 180.0) if p.caps == "capped" else ():
        parts += place(lathe([(0, 1.012), (0.18, 0.995), (0.34, 0.95)], "second"), turn=(turn, 0, 0))
    seams = {"none": (), "one": (90.0,), "two": (60.0, 120.0), "crossed": (0.0, 90.0)}[p.seams]
    for turn in seams:
        parts += place(tube([(x, y, 0) for x, y in oval(2.01, 2.01)], 0.02, p.seam_paint, closed=True), turn=(0, turn, 0))
    return parts


def _guitar(p: SimpleNamespace) -> list[Part]:
    halves: dict[str, list[Point]] = {
        "classic": [(0, 0.85), (0.3, 0.82), (0.5, 0.55), (0.42, 0.2), (0.62, -0.25), (0.55, -0.75), (0, -0.95)],
        "cutaway": [(0, 0.7), (0.2, 0.6), (0.5, 0.75), (0.56, 0.45), (0.42, 0.15), (0.62, -0.3), (0.55, -0.78), (0, -0.95)],
        "rounded": [(0, 0.8), (0.45, 0.7), (0.6, 0.2), (0.7, -0.3), (0.5, -0.8), (0, -0.95)],
    }
    body = place(slab(mirror(halves[p.body]), 0.22, "main", side=p.side), at=(0, -0.6, 0))
    hole = place(disc(0.2, "black"), at=(0, -0.35, 0.115), turn=(90, 0, 0)) + place(tube([(x, y, 0) for x, y in oval(0.44, 0.44)], 0.03, p.rosette, closed=True), at=(0, -0.35, 0.115))
    bridge = place(box(0.42, 0.09, 0.06, "walnut/wooden"), at=(0, -1.05, 0.14))
    guard = place(slab(smooth([(0, 0.1), (0.25, 0.05), (0.22, -0.35), (0.02, -0.3)], closed=True), 0.01, "second/plastic"), at=(0.2, -0.4, 0.115)) if p.guard == "guard" else []
    long = p.neck
    neck = place(box(0.16, long + 0.5, 0.09, "walnut/wooden"), at=(0, 0.05 + long / 2, 0.13))
    frets = [q for n in range(8) for q in place(box(0.16, 0.015, 0.02, "gold/steel"), at=(0, 0.2 + long * n / 8, 0.18))]
    head = place(slab([(-0.12, 0), (0.12, 0), (0.17, 0.45), (0.0 if p.head == "pointed" else 0.1, 0.55), (-0.1, 0.5), (-0.17, 0.45)], 0.07, p.side), at=(0, 0.28 + long, 0.11))
    pegs = [q for n in range(3) for s in (-1, 1) for q in place(ball(0.05, p.peg), at=(s * 0.2, 0.4 + long + 0.13 * n, 0.1))]
    strings = [q for n in range(4) for q in tube([(-0.05 + 0.033 * n, -1.05, 0.19), (-0.05 + 0.033 * n, 0.3 + long, 0.2)], 0.006, "steel/steel", up=(1, 0, 0))]
    return body + hole + bridge + guard + neck + frets + head + pegs + strings


def _carton(p: SimpleNamespace) -> list[Part]:
    h = p.height
    front = box(1.1, 2 * h, 1.0, "main", side="main", printed=True)
    roof_low, roof_high = h, h + 0.45
    if p.top == "gable":
        front += place(slab([(-0.5, roof_low), (0.5, roof_low), (0, roof_high)], 1.1, "plain", side="plain"), turn=(0, 90, 0)) + place(box(1.1, 0.2, 0.05, "second"), at=(0, roof_high + 0.08, 0))
    if p.cap != "none":
        y, z, turn = (h + 0.25, 0.26, 42.0) if p.top == "gable" else (h, 0.0, 0.0)
        front += place(lathe([(0, 0.16), (0.19, 0.16), (0.2, 0)], p.cap, curved=False), at=(0.15, y, z), turn=(turn, 0, 0))
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
    parts = lathe(body, "main", printed=True) + lathe([(r, h), (r - 0.04, h + 0.02), (r - 0.06, h - 0.04), (0, h - 0.04)], "steel/steel", curved=False)
    parts += lathe([(r + 0.02, h + 0.02), (r + 0.02, h - 0.03)], "steel/steel", curved=False) + disc(body[-1][0], "steel/steel", y=-h)
    tab = place(slab(oval(0.3, 0.2), 0.03, p.tab), at=(0.08, h + 0.0, 0), turn=(-90, 0, 0))
    rings = [q for n in range({"smooth": 0, "ribbed": 3}[p.side]) for q in place(lathe([(0.585 if p.body != "drinks" else 0.545, 0.02), (0.6 if p.body != "drinks" else 0.56, 0), (0.585 if p.body != "drinks" else 0.545, -0.02)], "plain"), at=(0, -0.6 * h + 0.6 * h * n, 0))]
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
    label = {"wide": oval(1.0, 0.75, power=6), "oval": oval(0.95, 0.7), "small": oval(0.6, 0.45, power=4)}[p.label]
    depth = {"straight": 0.68, "round": 0.8, "conical": 0.7}[p.body]
    parts += lathe([(depth + 0.012, 0.3), (depth + 0.012, -0.35)], "main", power=power, printed=True) if p.label == "wide" else place(sheet(label, 0.03, "main", printed=True), at=(0, -0.02, depth))
    lid = lathe([(0, 0.24), (0.54, 0.24), (0.57, 0.2), (0.57, 0)], p.lid)
    return parts + place(lid, at=(0, h - 0.02, 0))


_PACK = ("plain", "striped", "two-tone", "banded", "diagonal-striped", "wavy", "dotted", "leafy", "chevron")

LEAVES = [
    Leaf(
        ("Beauty", "Skin and hair care", "Pump bottles"), "bottle", _pump_bottle,
        numbers={"height": (0.75, 1.15)},
        choices={"body": ("round", "square", "curvy"), "head": ("pump", "spray", "flip"), "cap": ("light", "dark", "second", "gold/steel")},
        feature="head", colours=("white", "mint", "pink", "sky", "sand", "lilac"), materials=("plastic", "glass"), patterns=("plain", "plain", "banded", "two-tone", "leafy", "floral"), prints=0.7, words=0.7, glyph_size=0.26, pose=FRONTAL,
    ),
    Leaf(
        ("Beauty", "Fragrance and make-up", "Perfumes"), "perfume", _perfume,
        numbers={"height": (0.8, 1.15)},
        choices={"body": ("square", "round", "tapered", "faceted"), "caps": ("cube", "ball", "tall", "flat"), "cap": ("gold/steel", "dark", "steel/steel", "oak/wooden"), "label": ("none", "light/paper", "dark/paper", "gold/steel")},
        feature="body", colours=("pink", "lilac", "mustard", "sky", "charcoal", "mint"), materials=("glass",), patterns=("plain", "plain", "two-tone", "banded", "vertical-striped"), prints=0.4, words=0.5, glyph_size=0.22, pose=FRONTAL,
    ),
    Leaf(
        ("Beauty", "Fragrance and make-up", "Lipsticks"), "lipstick", _lipstick,
        numbers={"height": (0.8, 1.2)},
        choices={"case": ("round", "square"), "tip": ("slanted", "pointed", "flat"), "shade": ("red/plastic", "pink/plastic", "coral/plastic", "burgundy/plastic"), "metal": ("gold/steel", "steel/steel"), "band": ("third", "gold/steel", "plain"), "cap": ("beside", "none")},
        feature="tip", colours=("black", "white", "gold", "pink", "navy"), materials=("plastic", "steel"), patterns=("plain", "plain", "vertical-striped", "dotted", "banded", "diamonds"), prints=0.3, words=0.3, glyph_size=0.15, pose=FRONTAL,
    ),
    Leaf(
        ("Electronics", "Audio", "Headphones"), "headphones", _headphones,
        numbers={"size": (0.85, 1.2)},
        choices={"band": ("thin", "padded", "double"), "cup": ("round", "oval"), "pad": ("dark/leather", "second/leather", "tan/leather"), "badge": ("second", "third", "plain", "steel/steel"), "cable": ("none", "wired", "microphone")},
        feature="band", colours=GEAR, materials=("plastic", "steel"), patterns=("plain", "plain", "two-tone", "banded"), pose=Pose(yaw=(-60, 60), pitch=(0, 24)),
    ),
    Leaf(
        ("Electronics", "Audio", "Speakers"), "speaker", _speaker,
        numbers={"width": (0.75, 1.3)},
        choices={"body": ("boxy", "soft"), "cones": ("one", "two", "three"), "cone": ("dark/rubber", "grey/rubber", "mustard/rubber", "light/rubber"), "ring": ("steel/steel", "dark", "gold/steel"), "foot": ("none", "legs")},
        feature="body", colours=("walnut", "oak", "black", "white", "teal"), materials=("wooden", "plastic"), patterns=("plain", "plain", "two-tone"), pose=FRONTAL,
    ),
    Leaf(
        ("Electronics", "Photo", "Cameras"), "camera", _camera,
        numbers={"width": (0.85, 1.2), "lens": (0.2, 1.2), "offset": (-0.2, 0.2)},
        choices={"hump": ("prism", "flash", "none"), "top": ("steel/steel", "dark", "plain"), "ring": ("steel/steel", "red", "gold/steel", "dark"), "dials": ("one", "two", "three"), "strap": ("none", "strap")},
        feature="hump", colours=("black", "tan", "charcoal", "red", "mint"), materials=("leather",), patterns=("plain",), pose=Pose(yaw=(-48, 48), pitch=(2, 28)),
    ),
    Leaf(
        ("Toys and music", "Toys", "Teddy bears"), "teddy bear", _teddy,
        numbers={"belly": (0.85, 1.15)},
        choices={"ears": ("round", "large", "long"), "wears": ("none", "bow", "scarf", "jumper"), "patch": ("cream/plush", "light/plush", "plain", "tan/plush")},
        feature="ears", colours=("brown", "tan", "grey", "cream", "pink"), materials=("plush",), patterns=("striped", "dotted", "checked", "hearts", "tartan", "plain"), pose=Pose(yaw=(-45, 45), pitch=(-2, 24)),
    ),
    Leaf(
        ("Toys and music", "Toys", "Toy cars"), "toy car", _toy_car,
        numbers={"wheel": (0.22, 0.34)},
        choices={"cabin": ("saloon", "van", "pickup", "beetle"), "roof": ("plain", "beacon", "rack", "sign"), "hub": ("steel/steel", "second", "light")},
        feature="roof", colours=BRIGHT, materials=("plastic", "wooden", "enamel"), patterns=("plain", "plain", "two-tone", "checked", "banded", "dotted"), prints=0.5, words=0.3, glyph_size=0.14, pose=Pose(yaw=(-50, 50), pitch=(6, 36)),
    ),
    Leaf(
        ("Toys and music", "Toys", "Balls"), "ball", _ball_toy,
        choices={"caps": ("plain", "capped"), "seams": ("none", "one", "two", "crossed"), "seam_paint": ("dark", "third", "light")},
        colours=BRIGHT, materials=("rubber", "leather", "plastic"), patterns=(*SIMPLE, "vertical-striped", "starry", "diamonds", "checked", "wavy"), prints=0.6, words=0.2, glyph_size=0.5, pose=Pose(yaw=(-40, 40), pitch=(-20, 35), roll=(-25, 25)),
    ),
    Leaf(
        ("Toys and music", "Instruments", "Guitars"), "guitar", _guitar,
        numbers={"neck": (0.9, 1.4)},
        choices={"body": ("classic", "cutaway", "rounded"), "guard": ("none", "guard"), "rosette": ("light", "dark", "gold/steel", "third"), "head": ("pointed", "flat"), "peg": ("light", "gold/steel", "dark"), "side": ("walnut/wooden", "plain", "dark")},
        feature="body", colours=("oak", "walnut", "red", "black", "sand", "blue"), materials=("wooden", "enamel"), patterns=("plain", "plain", "two-tone", "speckled"), pose=Pose(yaw=LYING.yaw, pitch=LYING.pitch, roll=(-60, 60), rest="flat"),
    ),
    Leaf(
        ("Food", "Drinks", "Cartons"), "carton", _carton,
        numbers={"height": (0.75, 1.3)},
        choices={"top": ("gable", "flat"), "cap": ("none", "light/plastic", "third/plastic", "red/plastic"), "window": ("none", "wide", "round")},
        feature="top", colours=("white", "green", "blue", "orange", "cream"), materials=("paper",), patterns=_PACK, prints=0.9, words=0.8, glyph_size=0.42, pose=Pose(yaw=(-38, 38), pitch=(3, 26)),
    ),
    Leaf(
        ("Food", "Drinks", "Cans"), "can", _can,
        numbers={"height": (0.65, 1.25)},
        choices={"body": ("drinks", "straight"), "side": ("smooth", "ribbed"), "tab": ("steel/steel", "second", "gold/steel")},
        feature="side", colours=("red", "blue", "green", "white", "black", "orange"), materials=("enamel", "steel"), patterns=_PACK, prints=0.85, words=0.8, glyph_size=0.38, pose=Pose(yaw=(-35, 35), pitch=(4, 32)),
    ),
    Leaf(
        ("Food", "Pantry", "Jars"), "jar", _jar,
        numbers={"height": (0.75, 1.25)},
        choices={"body": ("straight", "round", "conical"), "section": ("round", "square"), "label": ("wide", "oval", "small"), "lid": ("gold/steel", "second", "light", "third"), "content": ("burgundy/glass", "mustard/glass", "orange/glass", "brown/glass", "olive/glass")},
        feature="label", colours=("cream", "white", "black", "sand", "mint"), materials=("paper",), patterns=("plain", "plain", "checked", "banded", "leafy", "two-tone", "striped"), prints=0.85, words=0.7, glyph_size=0.28, pose=Pose(yaw=(-30, 30), pitch=(3, 28)),
    ),
]  # fmt: skip
