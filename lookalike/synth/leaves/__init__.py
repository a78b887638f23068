"""The made-up shop's category tree, one module per department."""

from __future__ import annotations

from lookalike.synth.leaf import Leaf
from lookalike.synth.leaves import apparel, bags, footwear, home, kitchen, leisure

LEAVES: tuple[Leaf, ...] = (
    *kitchen.LEAVES,
    *home.LEAVES,
    *apparel.LEAVES,
    *footwear.LEAVES,
    *bags.LEAVES,
    *leisure.LEAVES,
)
