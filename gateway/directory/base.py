"""The record of an installation's collections and aliases: read from memory, written through to a store.

A collection is recorded as ``creating`` before the shards hear of it and as ``deleting`` before they drop it,
so that whatever a crash interrupts can be finished by repeating the call.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

from lookalike.collections import DEFAULT_COLLECTION, Spec
from lookalike.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidInputError,
    NotFoundError,
    Reason,
    shown,
)
from lookalike.matching import MatchCalibration

T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_GENERATION_BYTES = 10


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
    """Where its data lies on the shards: the name, a dot and a random part that is never used again."""
    state: State
    spec: Spec
    create_time_ns: int
    match_calibration: MatchCalibration | None = None
    """Its own; None: it has that of its model."""


@dataclass(frozen=True)
class Change:
    """What one write does to the record; None: the entry goes."""

    collections: Mapping[str, Collection | None] = field(default_factory=dict)
    aliases: Mapping[str, str | None] = field(default_factory=dict)


def check_name(name: str, field: str) -> str:
    """Returns a well-formed name of a collection or an alias.

    Raises:
        InvalidInputError: It is malformed.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{field} must be 1 to 63 characters of a-z, 0-9, - and _, starting with a letter or digit",
            field=field,
        )
    return name


class Directory(ABC):
    """Which collections, generations and aliases there are.

    Reads come from memory: they never wait. Writes come back once they are durable, and show in reads from
    then on; one that has begun is finished even where its caller has gone away. For one event loop only.

    Args:
        installation_id: Random, made once for the installation.
        layout_epoch: Counts up with each change of the shards' layout.
        collections: Those that are recorded, by name.
        aliases: Alias → collection.
    """

    def __init__(
        self,
        installation_id: str,
        layout_epoch: int,
        collections: Mapping[str, Collection],
        aliases: Mapping[str, str],
    ) -> None:
        self.installation_id = installation_id
        self.layout_epoch = layout_epoch
        self._collections = dict(collections)
        self._aliases = dict(aliases)
        self._writing = asyncio.Lock()

    @property
    @abstractmethod
    def failure(self) -> str:
        """Why it takes no writes; empty: it does."""

    @abstractmethod
    async def _commit(self, change: Change) -> None:
        """Makes a change durable, whole or not at all."""

    # Reading

    def resolve(self, name: str, field: str = "collection") -> Collection:
        """Returns the collection that a request means; without a name, the one named "default".

        Args:
            name: Of a collection or an alias.
            field: Path of the name in the request, for errors.

        Raises:
            InvalidInputError: The name is malformed.
            NotFoundError: There is no such collection or alias, or it is not complete
                (``COLLECTION_NOT_FOUND``).
        """
        check_name(name := name or DEFAULT_COLLECTION, field)
        found = self._collections.get(self._aliases.get(name, name))
        if found is None or found.state is State.DELETING:
            raise _unknown(name, field)
        if found.state is State.CREATING:
            raise NotFoundError(
                f"collection {shown(name)} is not complete: repeat CreateCollection to finish it",
                reason=Reason.COLLECTION_NOT_FOUND,
                field=field,
            )
        return found

    def find(self, name: str) -> Collection | None:
        """Returns a collection in whatever state, by its own name only."""
        return self._collections.get(name)

    def collections(self) -> list[Collection]:
        """Returns all collections in whatever state, by name."""
        return [collection for _, collection in sorted(self._collections.items())]

    def target_of(self, alias: str) -> str:
        """Returns the collection that an alias points to; empty if there is no such alias."""
        return self._aliases.get(alias, "")

    def aliases(self) -> list[tuple[str, str]]:
        """Returns all (alias, collection), by alias."""
        return sorted(self._aliases.items())

    def check_current(self, collection: Collection) -> None:
        """Checks that a collection which a request resolved earlier is still the one of its name.

        Raises:
            NotFoundError: It has been deleted (``COLLECTION_NOT_FOUND``).
            FailedPreconditionError: It has been deleted and created again (``GENERATION_MOVED``).
        """
        if self.resolve(collection.name).generation != collection.generation:
            raise FailedPreconditionError(
                f"collection {shown(collection.name)} was deleted and created again meanwhile: begin again",
                reason=Reason.GENERATION_MOVED,
                field="collection",
            )

    # Writing

    async def begin_create(self, name: str, spec: Spec) -> Collection:
        """Records a new collection as being created, under a generation that was never used before.

        Raises:
            AlreadyExistsError: The name is taken by now.
        """

        def plan() -> tuple[Change, Collection]:
            if name in self._collections or name in self._aliases:
                raise AlreadyExistsError(f"{shown(name)} has been taken meanwhile", field="name")
            generation = f"{name}.{secrets.token_hex(_GENERATION_BYTES)}"
            creating = Collection(name, generation, State.CREATING, spec, time.time_ns())
            return Change({name: creating}), creating

        return await self._write(plan)

    async def finish_create(self, name: str) -> Collection:
        """Records that every shard has the collection."""

        def plan() -> tuple[Change, Collection]:
            ready = replace(self._collections[name], state=State.READY)
            return Change({name: ready}), ready

        return await self._write(plan)

    async def set_match_calibration(
        self, collection: Collection, calibration: MatchCalibration | None
    ) -> Collection:
        """Gives a collection a calibration of its own, or takes it away.

        Args:
            collection: As it was resolved.
            calibration: Its own from now on; None: it has that of its model again.

        Raises:
            NotFoundError: It has been deleted meanwhile (``COLLECTION_NOT_FOUND``).
            FailedPreconditionError: It has been deleted and created again (``GENERATION_MOVED``).
        """

        def plan() -> tuple[Change, Collection]:
            self.check_current(collection)
            changed = replace(self._collections[collection.name], match_calibration=calibration)
            return Change({collection.name: changed}), changed

        return await self._write(plan)

    async def begin_delete(self, name: str) -> Collection:
        """Records a collection as being deleted; from now on it is not found.

        Raises:
            NotFoundError: There is none of this name.
            FailedPreconditionError: An alias points to it (``COLLECTION_ALIASED``).
        """

        def plan() -> tuple[Change, Collection]:
            found = self._collections.get(name)
            if found is None:
                raise _unknown(name, "name", "collection")
            for alias, target in self.aliases():
                if target == name:
                    raise FailedPreconditionError(
                        f"alias {shown(alias)} points to collection {shown(name)}: move or delete the alias"
                        " first",
                        reason=Reason.COLLECTION_ALIASED,
                        field="name",
                    )
            deleting = replace(found, state=State.DELETING)
            return Change({name: deleting}), deleting

        return await self._write(plan)

    async def finish_delete(self, name: str) -> None:
        """Forgets a collection that every shard has dropped."""
        await self._write(lambda: (Change({name: None}), None))

    async def set_alias(self, alias: str, collection: str) -> str:
        """Points an alias to a collection, and returns where it pointed before; empty if it is new.

        Raises:
            NotFoundError: There is no such collection, it is not ready, or its name is that of an alias.
            AlreadyExistsError: A collection has the alias's name.
        """

        def plan() -> tuple[Change, str]:
            if alias in self._collections:
                raise AlreadyExistsError(
                    f"{shown(alias)} is the name of a collection: an alias needs a name of its own",
                    field="alias.name",
                )
            if own_name := self.target_of(collection):
                raise NotFoundError(
                    f"{shown(collection)} is an alias, and an alias cannot point to another one: name its"
                    f" collection, {shown(own_name)}",
                    reason=Reason.COLLECTION_NOT_FOUND,
                    field="alias.collection",
                )
            target = self._collections.get(collection)
            if target is None or target.state is not State.READY:
                raise _unknown(collection, "alias.collection", "collection")
            return Change(aliases={alias: collection}), self.target_of(alias)

        return await self._write(plan)

    async def delete_alias(self, alias: str) -> None:
        """Deletes an alias; its collection stays.

        Raises:
            NotFoundError: There is none of this name (``ALIAS_NOT_FOUND``).
        """

        def plan() -> tuple[Change, None]:
            if alias not in self._aliases:
                raise NotFoundError(
                    f"there is no alias {shown(alias)}", reason=Reason.ALIAS_NOT_FOUND, field="name"
                )
            return Change(aliases={alias: None}), None

        await self._write(plan)

    async def _write(self, plan: Callable[[], tuple[Change, T]]) -> T:
        # A commit cannot be called back: the record in memory must follow it, whether or not anybody waits.
        return await asyncio.shield(asyncio.ensure_future(self._write_in_turn(plan)))

    async def _write_in_turn(self, plan: Callable[[], tuple[Change, T]]) -> T:
        async with self._writing:
            change, result = plan()
            await self._commit(change)
            _update(self._collections, change.collections)
            _update(self._aliases, change.aliases)
            return result


def _update(record: dict[str, T], changes: Mapping[str, T | None]) -> None:
    for key, value in changes.items():
        if value is None:
            record.pop(key, None)
        else:
            record[key] = value


def _unknown(name: str, field: str, kind: str = "collection or alias") -> NotFoundError:
    return NotFoundError(f"there is no {kind} {shown(name)}", reason=Reason.COLLECTION_NOT_FOUND, field=field)
