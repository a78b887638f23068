"""The filter options of ``lookalike search``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import typer

from lookalike.errors import InvalidInputError, shown
from lookalike.filters import Condition, Equals, Filter, In, InCategory, Range

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=VALUE",
        help="Only items with this attribute value; also NAME>=NUMBER and NAME<=NUMBER. Several: all must"
        " hold, but of several values for one name one is enough.",
    ),
]
Categories = Annotated[
    list[str] | None,
    typer.Option(
        "--in-category",
        metavar="PATH",
        help='Only items in or below this category, from the top down: "Kitchen > Drinkware". Several: one is'
        " enough.",
    ),
]

_TEST = re.compile(r"(?P<name>[^<>=]+)(?P<operator>>=|<=|=)(?P<value>.*)", re.DOTALL)


def parse_filter(where: Sequence[str], categories: Sequence[str]) -> Filter | None:
    """Returns the filter of the options; None where there are none.

    Raises:
        InvalidInputError: A test or a category that cannot be read.
    """
    if not where and not categories:
        return None
    for option, texts in (("--where", where), ("--in-category", categories)):
        for text in texts:
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise _wrong(f"{option} {shown(text)} is not Unicode text")
    values: dict[str, list[str]] = {}
    conditions: list[Condition] = []
    for test in where:
        parts = _TEST.fullmatch(test)
        if parts is None:
            raise _wrong(f"--where {shown(test)} must be NAME=VALUE, NAME>=NUMBER or NAME<=NUMBER")
        name, operator, value = parts["name"].strip(), parts["operator"], parts["value"].strip()
        if operator == "=":
            values.setdefault(name, []).append(value)
        else:
            conditions.append(_bound(name, operator, value))
    for name, wanted in values.items():
        conditions.append(Equals(name, wanted[0]) if len(wanted) == 1 else In(name, tuple(wanted)))
    return Filter(all=tuple(conditions), any=tuple(map(_category, categories)))


def _bound(name: str, operator: str, value: str) -> Range:
    try:
        number = float(value)
        return Range(name, min=number) if operator == ">=" else Range(name, max=number)
    except ValueError:
        raise _wrong(f"--where {shown(name + operator + value)} must compare with a number") from None


def _category(path: str) -> InCategory:
    names = tuple(name.strip() for name in path.split(">"))
    if not all(names):
        raise _wrong(f"--in-category {shown(path)} has an empty name")
    return InCategory(names)


def _wrong(message: str) -> InvalidInputError:
    return InvalidInputError(message, field="filter")
