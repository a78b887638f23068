"""Clients of a gateway: collections and aliases that come, move and go."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import grpc

from lookalike.v1 import collection_pb2, collection_pb2_grpc
from tests.faults.load import GONE, SECONDS, Load

COLLECTIONS_PER_CLIENT = 4


class GatewayLoad(Load):
    """See the module.

    A collection's state is its code length and its generation, an alias's the collection that it points to.

    Args:
        seed: Of what the clients do.
        hasher_port: Of a hasher that lives on.
    """

    def __init__(self, seed: int, hasher_port: int) -> None:
        super().__init__(seed)
        self._hasher_port = hasher_port
        self._era = 0

    def command(self, disk: Path) -> list[str]:
        return ["gateway", f"--data-folder={disk / 'data'}", f"--hashers=127.0.0.1:{self._hasher_port}"]

    def open(self, channel: grpc.Channel, searches: grpc.Channel) -> None:
        self._stub = collection_pb2_grpc.CollectionServiceStub(channel)

    def random_call(self, client: int, rng: random.Random) -> Any:
        with self._lock:
            states = {name: state for name, state in self._states.items() if state != GONE}
        # After a loss unfinished collections keep their names: new names are used then.
        own = [f"c{self._era}-{client}-{number}" for number in range(COLLECTIONS_PER_CLIENT)]
        there = [name for name in own if name in states]
        free = [name for name in there if name not in states.values()]
        alias = f"a{self._era}-{client}-{rng.randrange(3)}"
        chance = rng.random()
        if chance < 0.2 and free:
            return collection_pb2.DeleteCollectionRequest(name=rng.choice(free))
        if chance < 0.4 and alias in states:
            return collection_pb2.DeleteAliasRequest(name=alias)
        if not there or (chance < 0.6 and len(there) < len(own)):
            name = rng.choice([name for name in own if name not in there])
            spec = collection_pb2.CollectionSpec(
                model_version="m", dimension=8, bits=rng.choice([64, 128, 192]), partition_count=4
            )
            return collection_pb2.CreateCollectionRequest(name=name, spec=spec)
        target = collection_pb2.Alias(name=alias, collection=rng.choice(there))
        return collection_pb2.SetAliasRequest(alias=target)

    def send(self, call: Any) -> dict[str, str]:
        method = type(call).__name__.removesuffix("Request")
        answer = getattr(self._stub, method)(call, timeout=SECONDS)
        if method == "CreateCollection":
            return {call.name: _state(answer.collection)}
        return self.states_after(call)

    def send_again(self, call: Any) -> dict[str, str]:
        try:
            return self.send(call)
        except grpc.RpcError as error:
            # A deletion was done the first time.
            if not (type(call).__name__.startswith("Delete") and error.code() == grpc.StatusCode.NOT_FOUND):
                raise
            return self.states_after(call)

    def states_after(self, call: Any) -> dict[str, str]:
        if isinstance(call, collection_pb2.CreateCollectionRequest):
            return {call.name: f"{call.spec.bits} bits"}
        if isinstance(call, collection_pb2.SetAliasRequest):
            return {call.alias.name: call.alias.collection}
        return {call.name: GONE}

    def found(self) -> dict[str, str]:
        collections = self._stub.ListCollections(collection_pb2.ListCollectionsRequest(), timeout=SECONDS)
        aliases = self._stub.ListAliases(collection_pb2.ListAliasesRequest(), timeout=SECONDS)
        return {one.name: _state(one) for one in collections.collections} | {
            one.name: one.collection for one in aliases.aliases
        }

    def start_over(self) -> None:
        super().start_over()
        self._era += 1


def _state(collection: collection_pb2.Collection) -> str:
    return f"{collection.spec.bits} bits, {collection.generation}"
