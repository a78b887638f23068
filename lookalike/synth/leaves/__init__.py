"""The made-up shop's category tree, one module per department."""

from __future__ import annotations

from lookalike.synth.leaf import Leaf
from lookalike.synth.leaves import (
    accessories,
    apparel,
    bags,
    beauty,
    electronics,
    food,
    footwear,
    furniture,
    home,
    kitchen,
    toys,
)

LEAVES: tuple[Leaf, ...] = (
    *kitchen.LEAVES,
    *home.LEAVES,
    *furniture.LEAVES,
    *apparel.LEAVES,
    *footwear.LEAVES,
    *bags.LEAVES,
    *accessories.LEAVES,
    *beauty.LEAVES,
    *electronics.LEAVES,
    *toys.LEAVES,
    *food.LEAVES,
)
