"""The catalogue simulator: photos of made-up products, for machines that have no catalogue."""

from __future__ import annotations

from lookalike.synth.catalogue import generate
from lookalike.synth.leaves import LEAVES

__all__ = ["LEAVES", "generate"]
