"""Made-up products: draw one, derive its near twin, name it and build its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from lookalike.synth.geometry import Part
from lookalike.synth.glyphs import GLYPHS
from lookalike.synth.leaf import Leaf
from lookalike.synth.paint import Paint, cover
from lookalike.synth.render import Model

_SECONDS = ("white", "black", "mustard", "red", "sky", "navy")
_SYLLABLES = (
    "ka",
    "lo",
    "mi",
    "ver",
    "tan",
    "no",
    "zu",
    "pel",
    "or",
    "is",
    "fen",
    "ra",
    "bo",
    "lin",
    "qua",
    "dex",
)


@dataclass(frozen=True)
class Product:
    """Everything that all photos of one product share.

    Attributes:
        leaf: Its category.
        numbers, choices: Values of the leaf's proportions and part kinds.
        paint: The main paint with pattern and print.
        detail: What sets it apart from the product it was derived from; empty for a first product.
    """

    leaf: Leaf
    numbers: Mapping[str, float]
    choices: Mapping[str, str]
    paint: Paint
    detail: str = ""

    @property
    def title(self) -> str:
        """A shop's title, such as ``Blue striped ceramic mug with square handle``."""
        paint, leaf = self.paint, self.leaf
        words = [paint.colour.capitalize()]
        if paint.pattern != "plain":
            words.append(paint.pattern)
        words += [paint.material, leaf.noun]
        feature = self.choices.get(leaf.feature, "none")
        extras = [f"{feature} {leaf.feature}"] if feature != "none" else []
        if paint.glyph:
            extras.append(f"{paint.glyph} print")
        if paint.words:
            extras.append(f'"{paint.words}" lettering')
        return " ".join(words) + (" with " + " and ".join(extras) if extras else "")


def draw_product(leaf: Leaf, random: np.random.Generator) -> Product:
    """Draws a product of a leaf."""
    numbers = {name: float(random.uniform(*limits)) for name, limits in leaf.numbers.items()}
    choices = {name: str(random.choice(kinds)) for name, kinds in leaf.choices.items()}
    colour = str(random.choice(leaf.colours))
    second, third, ink = (str(c) for c in random.permutation([c for c in _SECONDS if c != colour])[:3])
    paint = Paint(
        colour=colour,
        material=str(random.choice(leaf.materials)),
        pattern=str(random.choice(leaf.patterns)),
        second=second,
        third=third,
        pitch=float(random.uniform(0.2, 0.5)),
        glyph=str(random.choice(list(GLYPHS))) if random.random() < leaf.prints else "",
        ink=ink,
        glyph_size=leaf.glyph_size * float(random.uniform(0.8, 1.2)),
        words=_word(random) if random.random() < leaf.words else "",
        seed=int(random.integers(2**31)),
    )
    return Product(leaf, numbers, choices, paint)


def draw_sibling(product: Product, random: np.random.Generator) -> Product:
    """Derives a product that differs from ``product`` in one fine detail that can be seen."""
    look = _look(product)
    while True:
        sibling = _changed(product, random)
        # A clasp's shape changes nothing on a bag without a clasp: draw again.
        if _look(sibling) != look:
            return sibling


def _look(product: Product) -> list[tuple[bytes, Paint]]:
    """What of a product can be seen: each part's points and paint."""
    return [(part.grid.tobytes(), _seen_paint(product.paint, part)) for part in shape(product)]


def _seen_paint(main: Paint, part: Part) -> Paint:
    paint = _paint_of(main, part.paint)
    if paint.pattern == "plain":
        paint = replace(paint, second="", third="", pitch=0.0)
    return paint if part.printed else replace(paint, glyph="", words="", ink="", glyph_size=0.0)


def _changed(product: Product, random: np.random.Generator) -> Product:
    """Changes one detail, which may be one that this product does not show."""
    leaf, paint = product.leaf, product.paint
    details = [f"choice:{name}" for name, kinds in leaf.choices.items() if len(kinds) > 1]
    details += [f"number:{name}" for name in leaf.numbers]
    details += ["glyph"] * 2 * bool(paint.glyph) + ["words"] * bool(paint.words)
    details += ["pattern"] * (len(leaf.patterns) > 1) + ["pitch"] * (paint.pattern != "plain") + ["second"]
    detail = str(random.choice(details))
    kind, _, name = detail.partition(":")
    if kind == "choice":
        return replace(
            product,
            choices={**product.choices, name: _other(leaf.choices[name], product.choices[name], random)},
            detail=name,
        )
    if kind == "number":
        low, high = leaf.numbers[name]
        value = product.numbers[name]
        # Half the range away, so that the change can be seen.
        moved = value + (high - low) / 2 if value < (low + high) / 2 else value - (high - low) / 2
        return replace(product, numbers={**product.numbers, name: moved}, detail=name)
    changed = {
        "glyph": lambda: replace(paint, glyph=_other(tuple(GLYPHS), paint.glyph, random)),
        "words": lambda: replace(paint, words=_word(random)),
        "pattern": lambda: replace(paint, pattern=_other(leaf.patterns, paint.pattern, random)),
        "pitch": lambda: replace(paint, pitch=paint.pitch * (1.7 if paint.pitch < 0.35 else 0.6)),
        "second": lambda: replace(paint, second=_other(_SECONDS, paint.second, random)),
    }
    return replace(product, paint=changed[kind](), detail=kind)


def build(product: Product) -> Model:
    """Puts a product's parts together and paints them."""
    parts = shape(product)
    return Model(parts, [cover(part, _paint_of(product.paint, part.paint)) for part in parts])


def shape(product: Product) -> list[Part]:
    """Puts a product's parts together."""
    return product.leaf.parts(SimpleNamespace(**product.numbers, **product.choices))


def _other(kinds: tuple[str, ...], present: str, random: np.random.Generator) -> str:
    return str(random.choice([kind for kind in kinds if kind != present]))


def _word(random: np.random.Generator) -> str:
    return "".join(random.choice(_SYLLABLES, int(random.integers(2, 4)))).upper()


def _paint_of(main: Paint, role: str) -> Paint:
    """Resolves a part's paint: ``main``, ``plain``, ``second``, ``third``, ``light``, ``dark`` or a colour,
    with ``/material`` behind it where the material is not the product's own.
    """
    name, _, material = role.partition("/")
    if name == "main":
        return main
    colours = {
        "plain": main.colour,
        "second": main.second,
        "third": main.third,
        "light": "white",
        "dark": "black",
    }
    return Paint(colours.get(name, name), material or main.material, seed=main.seed)
