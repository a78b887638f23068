"""Who learns what a shard serves, besides its own callers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hasher.generation import Generation
    from hasher.identity import Identity


class Publisher(Protocol):
    """Serves the generations of a shard; :class:`hasher.search_port.SearchPort` does."""

    def publish(self, generation: Generation) -> None:
        """Serves a generation, whose index follows no log yet."""
        ...

    def advance(self, generation: str, positions: Mapping[int, int]) -> None:
        """Says which positions of the log's lanes the index of a generation rests on now."""
        ...

    def withdraw(self, generation: str) -> None:
        """Serves a generation no more."""
        ...

    def become(self, identity: Identity) -> None:
        """Says what the shard is."""
        ...

    def loaded(self) -> None:
        """Answers from now on."""
        ...


class Unpublished:
    """Serves nothing, for whoever uses a shard by itself."""

    def publish(self, generation: Generation) -> None:
        """See :class:`Publisher`."""

    def advance(self, generation: str, positions: Mapping[int, int]) -> None:
        """See :class:`Publisher`."""

    def withdraw(self, generation: str) -> None:
        """See :class:`Publisher`."""

    def become(self, identity: Identity) -> None:
        """See :class:`Publisher`."""

    def loaded(self) -> None:
        """See :class:`Publisher`."""
