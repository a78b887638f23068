"""The record of collections and aliases: its entries, and how requests name them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lookalike.collections import DEFAULT_COLLECTION, Spec
from lookalike.errors import InvalidInputError

if TYPE_CHECKING:
    from gateway.directory.sqlite import Registry

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class State(StrEnum):
    """How far a collection's life has come."""

    CREATING = "creating"
    READY = "ready"
    DELETING = "deleting"


@dataclass(frozen=True)
class Collection:
    """A collection as it is recorded."""

    name: str
    generation: str
    state: State
    spec: Spec
    create_time_ns: int


def check_name(name: str, field: str) -> str:
    """Returns a well-formed name of a collection or an alias.

    Raises:
        InvalidInputError: It is none.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{field} must be 1 to 63 characters of a-z, 0-9, - and _, starting with a letter or digit",
            field=field,
        )
    return name


def resolve(registry: Registry, name: str, field: str = "collection") -> Collection:
    """Returns the collection that a request means; without a name, the one named "default".

    Args:
        registry: Which collections there are.
        name: Of a collection or an alias.
        field: Path of the name in the request, for errors.

    Raises:
        InvalidInputError: The name is malformed.
        NotFoundError: There is no such collection or alias (``COLLECTION_NOT_FOUND``).
    """
    return registry.resolve(check_name(name or DEFAULT_COLLECTION, field), field)
