"""The store against a dictionary, over random histories with conditions, retries, lost time and restarts.

A second store applies the same records one by one, and has the same tables.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hasher.attributes import ItemAttributes
from hasher.log.base import Applied, Change, Delete, Mutation, Outcome, Record, Upsert
from hasher.rows.records import Creation
from hasher.rows.requests import WINDOW_NS
from hasher.rows.store import RowStore
from lookalike.collections import Spec
from lookalike.errors import InvalidInputError
from lookalike.placement import partition_of
from lookalike.v1 import types_pb2

PARTITIONS = 4
CREATION = Creation(Spec("m", 4, 64, PARTITIONS), "create", "home", 0, 1, "direct", {0: 1})
ITEM_IDS = st.sampled_from(["a", "b", "c", "é", "a\x00", "d", "e"])
PRODUCTS = st.sampled_from(["", "p", "q", "a"])
IF_VERSION = st.none() | st.integers(0, 6)
UPSERTS = st.builds(
    lambda item_id, product_id, seed, if_version: Upsert(
        item_id,
        product_id,
        types_pb2.Item(title=f"{product_id}:{seed}").SerializeToString(),
        np.full(4, seed, np.float32),
        ItemAttributes((), {}),
        b"",
        if_version,
    ),
    ITEM_IDS,
    PRODUCTS,
    st.integers(0, 5),
    IF_VERSION,
)
MUTATIONS = st.lists(
    UPSERTS | st.builds(Delete, ITEM_IDS, IF_VERSION), min_size=1, max_size=5, unique_by=lambda m: m.item_id
)
STEPS_NS = st.sampled_from([0, 1, 10**9, WINDOW_NS // 2, WINDOW_NS, WINDOW_NS + 1, -5])
TABLES = ("rows", "products", "lanes", "partitions", "deletions", "requests", "refusals", "sqlite_sequence")


@dataclass
class Request:
    """What the model knows of a request id."""

    digest: bytes
    time_ns: int
    position: int
    partitions: dict[int, dict[str, Outcome]] = field(default_factory=dict)


class Model:
    """What the records should come to."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Upsert, int]] = {}
        self.requests: dict[str, Request] = {}
        self.position, self.time_ns = 1, 0

    def apply(self, record: Record) -> Applied | None:
        """Returns the result; None: it is refused."""
        change = record.change
        time_ns = max(self.time_ns, record.time_ns)
        asked: dict[int, list[Mutation]] = {}
        for mutation in change.mutations:
            asked.setdefault(partition_of(mutation.item_id, PARTITIONS), []).append(mutation)
        known = self.requests.get(change.request_id)
        if known is None or known.time_ns < time_ns - WINDOW_NS:
            known = Request(change.payload_hash, time_ns, record.position)
        elif known.digest != change.payload_hash or any(
            list(known.partitions[p]) != [m.item_id for m in asked[p]]
            for p in asked.keys() & known.partitions
        ):
            self.position, self.time_ns = record.position, time_ns
            return None
        done = {p: asked[p] for p in asked if p not in known.partitions}
        if done:
            self.position, self.time_ns = record.position, time_ns
            known.time_ns, known.position = time_ns, record.position
        fresh = {mutation.item_id for mutations in done.values() for mutation in mutations}
        outcomes = {m.item_id: self.mutate(m) for m in change.mutations if m.item_id in fresh}
        for partition, mutations in done.items():
            known.partitions[partition] = {m.item_id: outcomes[m.item_id] for m in mutations}
        self.requests[change.request_id] = known
        everything = {k: v for partition in known.partitions.values() for k, v in partition.items()}
        return Applied(known.position, tuple(everything[m.item_id] for m in change.mutations))

    def mutate(self, mutation: Mutation) -> Outcome:
        existed = mutation.item_id in self.rows
        version = self.rows[mutation.item_id][1] if existed else 0
        if mutation.if_version not in (None, version):
            return Outcome(version, existed, conflict=True)
        if isinstance(mutation, Delete):
            self.rows.pop(mutation.item_id, None)
            return Outcome(0, existed)
        self.rows[mutation.item_id] = (mutation, self.position)
        return Outcome(self.position, existed)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        for name in ("store", "twin"):
            (self.folder / name).mkdir()
            RowStore.create(self.folder / name, CREATION, "g")
        self.store, self.twin = (RowStore(self.folder / name, "g") for name in ("store", "twin"))
        self.model = Model()
        self.changes: list[Change] = []
        self.position, self.time_ns = 1, 10**18

    def change(self, mutations: list[Mutation], request_id: str = "") -> Change:
        change = Change(request_id or f"r{len(self.changes)}", b"digest", tuple(mutations))
        self.changes.append(change)
        return change

    def apply(self, changes: list[Change], gap: int, step_ns: int) -> None:
        records = []
        for change in changes:
            self.position += 1 + gap
            self.time_ns += step_ns
            records.append(Record(0, self.position, self.time_ns, change))
        expected = [self.model.apply(record) for record in records]
        for results in (
            self.store.apply(records).results,
            [self.twin.apply([record]).results[0] for record in records],
        ):
            answers = [None if isinstance(result, InvalidInputError) else result for result in results]
            assert answers == expected

    @rule(groups=st.lists(MUTATIONS, min_size=1, max_size=3), gap=st.integers(0, 3), step_ns=STEPS_NS)
    def write(self, groups: list[list[Mutation]], gap: int, step_ns: int) -> None:
        self.apply([self.change(mutations) for mutations in groups], gap, step_ns)

    @precondition(lambda self: self.changes)
    @rule(data=st.data(), step_ns=STEPS_NS)
    def retry(self, data: Any, step_ns: int) -> None:
        change = data.draw(st.sampled_from(self.changes))
        other = Change(change.request_id, b"other", change.mutations)
        self.apply([change, other, change], 0, step_ns)

    @precondition(lambda self: self.changes)
    @rule(data=st.data(), further=MUTATIONS, step_ns=STEPS_NS)
    def retry_with_more(self, data: Any, further: list[Mutation], step_ns: int) -> None:
        """As if a part of the request had come to another shard, whose partitions are here now."""
        change = data.draw(st.sampled_from(self.changes))
        there = {mutation.item_id for mutation in change.mutations}
        mutations = [*change.mutations, *(m for m in further if m.item_id not in there)]
        self.apply([self.change(mutations, change.request_id)], 0, step_ns)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = RowStore(self.folder / "store", "g")

    @invariant()
    def rows_are_the_model(self) -> None:
        rows, more = self.store.page("", 100, True, 10**6)
        assert not more
        ordered = sorted(self.model.rows.items(), key=lambda entry: entry[0].encode())
        assert [(row.item, row.version, row.vector) for row in rows] == [
            (upsert.item, version, upsert.vector.tobytes()) for _, (upsert, version) in ordered
        ]

    @invariant()
    def counts_and_products_are_the_models(self) -> None:
        entries = self.store.index_entries(0)
        keys = [upsert.product_id or (upsert.item_id,) for upsert, _ in self.model.rows.values()]
        assert self.store.positions == {0: self.model.position}
        assert len(entries.row_numbers) == self.store.item_count == len(keys)
        assert len(set(entries.product_numbers)) == self.store.product_count == len(set(keys))

    @invariant()
    def whoever_applies_the_same_records_has_the_same_tables(self) -> None:
        for table in TABLES:
            ours, theirs = (
                list(store._writer.execute(f"SELECT * FROM {table} ORDER BY 1, 2"))
                for store in (self.store, self.twin)
            )
            assert ours == theirs, table

    def teardown(self) -> None:
        self.store.close()
        self.twin.close()
        shutil.rmtree(self.folder)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
