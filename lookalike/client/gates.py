"""Where predicted categories send a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from lookalike.client import checks
from lookalike.errors import InvalidInputError, shown
from lookalike.v1 import search_pb2, types_pb2

_Enum = TypeVar("_Enum")

_LEVELS = {
    "meta": types_pb2.CATEGORY_LEVEL_META,
    "level2": types_pb2.CATEGORY_LEVEL_LEVEL2,
    "leaf": types_pb2.CATEGORY_LEVEL_LEAF,
}
_MODES = {
    "boost": search_pb2.CATEGORY_GATE_MODE_BOOST,
    "narrow": search_pb2.CATEGORY_GATE_MODE_NARROW,
}


@dataclass(frozen=True, slots=True)
class CategoryGate:
    """Looks where the category of a query probably is.

    Attributes:
        level: Of the categories: ``meta``, ``level2`` or ``leaf``.
        mode: ``boost`` moves hits of probable categories forward and leaves nothing out; ``narrow`` finds
            only items of the most probable ones, so that a wrong guess hides the product.
        mass: Of ``narrow``: how probable the categories that are looked in are together, above 0, at most 1;
            None leaves it to the server.
    """

    level: str
    mode: str = "boost"
    mass: float | None = None


def set_gate(request: search_pb2.SearchRequest, gate: CategoryGate | str) -> None:
    """Enters a gate, or the level of one, into a request.

    Raises:
        InvalidInputError: It is neither, there is no such level or mode, or the mass is no number.
    """
    if isinstance(gate, str):
        gate = CategoryGate(gate)
    if not isinstance(gate, CategoryGate):
        raise InvalidInputError(
            f"category_gate must be a CategoryGate or a level, not {type(gate).__name__}",
            field="category_gate",
        )
    request.category_gate = _value(gate.level, _LEVELS, "category_gate")
    request.category_gate_mode = _value(gate.mode, _MODES, "category_gate_mode")
    if gate.mass is not None:
        request.category_gate_mass = checks.number(gate.mass, "category_gate_mass")


def _value(name: str, values: Mapping[str, _Enum], field: str) -> _Enum:
    if checks.text(name, field) not in values:
        raise InvalidInputError(f"{field} must be one of {', '.join(values)}, not {shown(name)}", field=field)
    return values[name]
