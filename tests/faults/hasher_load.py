"""Clients of one hasher: items that are written and deleted, generations that come and go."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.hasher import HasherStub
from lookalike.v1 import collection_pb2, hasher_pb2, types_pb2
from tests.faults.load import GONE, SECONDS, Load, StartError

DIMENSION = 64
ITEMS_PER_CLIENT = 150
GENERATION = "shop.1"
SPEC = collection_pb2.CollectionSpec(
    model_version="m", dimension=DIMENSION, bits=128, partition_count=64,
    rerank=collection_pb2.RERANK_PRECISION_F32,
)  # fmt: skip
TARGET = hasher_pb2.ShardIdentity(installation_id="i", shard=0, shard_count=1, layout_epoch=1)
SERVICE = hasher_pb2.DESCRIPTOR.services_by_name["HasherService"].full_name


def vector_of(item_id: str, state: str) -> bytes:
    """Returns a vector of exact unit length, so that the stored bytes are the written ones."""
    digest = hashlib.sha256(f"{item_id}/{state}".encode()).digest()
    bits = np.unpackbits(np.frombuffer(digest[: DIMENSION // 8], np.uint8))
    return np.where(bits, np.float32(0.125), np.float32(-0.125)).astype("<f4").tobytes()


def item_of(item_id: str, state: str) -> types_pb2.Item:
    number = int(item_id.rpartition("-")[2])
    return types_pb2.Item(item_id=item_id, product_id=f"p{number % 20}", title=state, image_uri="x" * number)


class HasherLoad(Load):
    """See the module.

    Args:
        seed: Of what the clients do.
        plain: Nothing but writes: no generations that come and go, no index that is saved between them. Every
            sync is then that of a write. What became of those that were not answered is asked first.
    """

    first_calls = (hasher_pb2.ApplyRequest(generation=GENERATION, request_id="first", create=SPEC),)

    def __init__(self, seed: int, *, plain: bool = False) -> None:
        super().__init__(seed)
        self._plain = plain

    def command(self, disk: Path) -> list[str]:
        # A saved index syncs the rows, too: what depends on the opening alone shows without it.
        seconds = 300 if self._plain else self._rng.choice([0.3, 300])
        return ["hasher", f"--data-folder={disk / 'data'}", f"--checkpoint-interval-seconds={seconds}"]

    def open(self, channel: grpc.Channel, searches: grpc.Channel) -> None:
        self._stub = HasherStub(channel, searches)
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        watch = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=SECONDS)
        for answer in watch:
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                watch.cancel()
                return
        raise StartError("the hasher has ended at its start")

    def _ask(self, method: str, request: Any) -> Any:
        """Every request names the shard that it is meant for."""
        request.target.CopyFrom(TARGET)
        return getattr(self._stub, method)(request, timeout=SECONDS)

    # Writing

    def random_call(self, client: int, rng: random.Random) -> Any:
        number = self.number()
        request = hasher_pb2.ApplyRequest(generation=GENERATION, request_id=f"r{number}")
        if not self._plain and rng.random() < 0.1:
            return self._another_generation(client, request)
        request.write.model_version = "m"
        for of_client in rng.sample(range(ITEMS_PER_CLIENT), rng.randint(1, 20)):
            item_id, state = f"c{client}-{of_client}", f"state {number}"
            if rng.random() < 0.2:
                request.write.mutations.add(delete_item_id=item_id)
            else:
                row = hasher_pb2.UpsertRow(
                    item=item_of(item_id, state), vector_f32_le=vector_of(item_id, state)
                )
                request.write.mutations.add(upsert=row)
        return request

    def _another_generation(self, client: int, request: Any) -> Any:
        """Deletes the client's own generation, or makes it under a name never used before."""
        with self._lock:
            names = [name for name, state in self._states.items() if state == "there"]
        own = [name for name in names if name.startswith(f"side{client}.")]
        request.generation = own[0] if own else f"side{client}.{request.request_id}"
        if own:
            request.drop.SetInParent()
        else:
            request.create.CopyFrom(SPEC)
        return request

    def send(self, call: Any) -> dict[str, str]:
        self._ask("Apply", call)
        return self.states_after(call)

    def send_again(self, call: Any) -> dict[str, str]:
        # A repeated write is a new record of the log, whose sync reaches what came before. Asking for the
        # outcome of the first writes nothing: whatever is answered must have been durable already.
        if call.HasField("write") and (self._plain or self._rng.random() < 0.5):
            asked = hasher_pb2.AwaitRequest(generation=call.generation, request_id=call.request_id)
            try:
                self._ask("Await", asked)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND:
                    raise
            else:
                return self.states_after(call)
        return self.send(call)

    def states_after(self, call: Any) -> dict[str, str]:
        change = call.WhichOneof("change")
        if change != "write":
            return {call.generation: "there" if change == "create" else GONE}
        return {
            one.delete_item_id or one.upsert.item.item_id: GONE
            if one.delete_item_id
            else one.upsert.item.title
            for one in call.write.mutations
        }

    # Checking

    def found(self) -> dict[str, str]:
        described = self._ask("Describe", hasher_pb2.DescribeRequest())
        found = {one.generation: "there" for one in described.generations}
        after, more = "", GENERATION in found
        while more:
            page = self._ask(
                "List",
                hasher_pb2.ListRequest(
                    generation=GENERATION, after_item_id=after, page_size=1000, include_vectors=True
                ),
            )
            for row in page.rows:
                item = row.stored.item
                after, state = item.item_id, item.title
                right = (item_of(after, state), vector_of(after, state))
                found[after] = state if (item, row.vector_f32_le) == right else f"damaged: {item}"
            more = page.more
        return found

    def wrong(self, found: dict[str, str]) -> list[str]:
        """Returns what the index does not answer as the rows have it."""
        states = {name: state for name, state in found.items() if state != "there"}
        sample = self._rng.sample(sorted(states), min(20, len(states)))
        if not sample:
            return []
        vectors = b"".join(vector_of(item_id, states[item_id]) for item_id in sample)
        answer = self._ask(
            "Search",
            hasher_pb2.HasherServiceSearchRequest(
                generation=GENERATION, model_version="m", k=1, exact=True, vectors_f32_le=vectors
            ),
        )
        wrong = []
        for item_id, result in zip(sample, answer.results, strict=True):
            hits = [hit.item_id for hit in result.hits]
            if hits != [item_id]:
                wrong.append(f"a search for {item_id} finds {hits}")
        if answer.codes_total != len(states):
            wrong.append(f"the index has {answer.codes_total} items, the rows {len(states)}")
        return wrong
