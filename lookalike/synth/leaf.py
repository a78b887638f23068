"""What a leaf category is: data that says which products it has and how their parts are put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace

from lookalike.synth.geometry import Part

Range = tuple[float, float]

BRIGHT = ("white", "black", "red", "blue", "yellow", "green")
SOFT = ("cream", "grey", "navy", "coral", "mint", "sand")
CLOTH = ("white", "black", "navy", "red", "grey", "olive")
LEATHER = ("brown", "tan", "black", "burgundy", "navy")
WOODS = ("oak", "walnut", "white", "charcoal")
GEAR = ("black", "white", "charcoal", "navy", "red")
PLAIN = ("plain",)
SIMPLE = ("plain", "striped", "dotted", "two-tone", "banded", "speckled")
WOVEN = ("plain", "striped", "pinstriped", "checked", "tartan", "chevron", "dotted", "floral")


@dataclass(frozen=True)
class Pose:
    """How a leaf's products lie in front of the camera; ranges in degrees.

    Attributes:
        yaw: Turn about the upright axis.
        pitch: How far from above the camera looks.
        roll: Tilt of the picture.
        rest: ``floor`` (stands on a ground), ``flat`` (lies on it, seen from above) or ``wall``.
    """

    yaw: Range = (-50, 50)
    pitch: Range = (4, 34)
    roll: Range = (-5, 5)
    rest: str = "floor"


STANDING = Pose()
FRONTAL = Pose(yaw=(-38, 38), pitch=(2, 24))
LYING = Pose(yaw=(-22, 22), pitch=(-20, 20), roll=(-28, 28), rest="flat")
HANGING = Pose(yaw=(-32, 32), pitch=(-16, 16), roll=(-6, 6), rest="wall")


@dataclass(frozen=True)
class Leaf:
    """One leaf category.

    Attributes:
        path: The category path ``meta / level2 / leaf``.
        noun: The product in a title.
        parts: Puts one product together; its argument has one attribute per number and choice.
        numbers: Proportions, drawn evenly from a range.
        choices: Kinds of parts, one drawn of each.
        feature: The choice that the title names, as ``with <value> <choice>``; empty for none.
        colours, materials, patterns: What the main paint is drawn from.
        prints: Share of products that carry a printed picture.
        words: Share of products that carry a brand name.
        glyph_size: Half the size of the print, in units of the parts.
        pose: How it is photographed.
    """

    path: tuple[str, str, str]
    noun: str
    parts: Callable[[SimpleNamespace], list[Part]]
    numbers: Mapping[str, Range] = field(default_factory=lambda: MappingProxyType({}))
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    feature: str = ""
    colours: tuple[str, ...] = BRIGHT
    materials: tuple[str, ...] = ("plastic",)
    patterns: tuple[str, ...] = PLAIN
    prints: float = 0.0
    words: float = 0.0
    glyph_size: float = 0.4
    pose: Pose = STANDING
