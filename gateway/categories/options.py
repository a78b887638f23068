"""What a search asks of categories: a vote on them, and where to look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lookalike.errors import InvalidInputError, Reason
from lookalike.v1 import search_pb2
from lookalike.wire.categories import LEVELS

Mode = Literal["narrow", "boost"]
DEFAULT_MASS = 0.95
_MODES: dict[int, Mode] = {
    search_pb2.CATEGORY_GATE_MODE_UNSPECIFIED: "boost",
    search_pb2.CATEGORY_GATE_MODE_BOOST: "boost",
    search_pb2.CATEGORY_GATE_MODE_NARROW: "narrow",
}


@dataclass(frozen=True, slots=True)
class Gate:
    """Where predicted categories send a search.

    Attributes:
        depth: Of the categories; 0 is the topmost level.
        mode: ``narrow`` looks in them alone, ``boost`` moves their items forward.
        mass: How probable they are together, above 0, at most 1; of ``narrow``.
    """

    depth: int
    mode: Mode
    mass: float = DEFAULT_MASS


@dataclass(frozen=True, slots=True)
class CategoryOptions:
    """What a search asks of categories; every value has been checked.

    Attributes:
        vote: Whether labelled neighbours have a say in what is predicted.
        gate: Where to look; None: everywhere alike.
    """

    vote: bool = False
    gate: Gate | None = None

    def __bool__(self) -> bool:
        return self.vote or self.gate is not None


PLAIN = CategoryOptions()


def check_category_options(request: search_pb2.SearchRequest) -> CategoryOptions:
    """Returns what a search asks of categories.

    Raises:
        InvalidInputError: A level or mode that there is not, a mass out of range, or one of them without what
            it belongs to.
    """
    if not request.category_gate:
        for field in ("category_gate_mode", "category_gate_mass"):
            if request.HasField(field) if field == "category_gate_mass" else getattr(request, field):
                raise _wrong(field, "is read only with category_gate: set that, too, or leave this out")
        return CategoryOptions(request.category_vote)
    if request.category_gate not in LEVELS:
        raise _wrong("category_gate", f"must be META, LEVEL2 or LEAF, got {request.category_gate}")
    mode = _MODES.get(request.category_gate_mode)
    if mode is None:
        raise _wrong("category_gate_mode", f"must be BOOST or NARROW, got {request.category_gate_mode}")
    mass = DEFAULT_MASS
    if request.HasField("category_gate_mass"):
        mass = request.category_gate_mass
        if mode != "narrow":
            raise _wrong("category_gate_mass", "is read only with category_gate_mode NARROW")
        if not 0 < mass <= 1:
            raise InvalidInputError(
                f"category_gate_mass must be above 0, at most 1, got {mass}",
                reason=Reason.FIELD_OUT_OF_RANGE,
                field="category_gate_mass",
            )
    return CategoryOptions(request.category_vote, Gate(LEVELS.index(request.category_gate), mode, mass))


def _wrong(field: str, problem: str) -> InvalidInputError:
    return InvalidInputError(f"{field} {problem}", field=field)
