"""The store against a dictionary, over random histories with conditions, retries and restarts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hasher.rows.records import Applied, Change, Delete, Mutation, Outcome, Upsert
from hasher.rows.store import RowStore, hash_payload
from lookalike.collections import Spec
from lookalike.errors import InvalidInputError

SPEC = Spec("m", 4, 64, 16)
ITEM_IDS = st.sampled_from(["a", "b", "c", "é", "a\x00"])
PRODUCTS = st.sampled_from(["", "p", "q", "a"])
IF_VERSION = st.none() | st.integers(0, 6)
UPSERTS = st.builds(
    lambda item_id, product_id, seed, if_version: Upsert(
        item_id, product_id, f"{product_id}:{seed}".encode(), np.full(4, seed, np.float32), if_version
    ),
    ITEM_IDS,
    PRODUCTS,
    st.integers(0, 5),
    IF_VERSION,
)
MUTATIONS = st.lists(
    UPSERTS | st.builds(Delete, ITEM_IDS, IF_VERSION), min_size=1, max_size=4, unique_by=lambda m: m.item_id
)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        RowStore.create(self.folder, SPEC, 0, 1)
        self.store = RowStore(self.folder, "g")
        self.rows: dict[str, tuple[Upsert, int]] = {}
        self.position = 1
        self.done: list[tuple[Change, Applied]] = []

    def change(self, mutations: list[Mutation]) -> Change:
        return Change(f"r{len(self.done)}", hash_payload(repr(mutations).encode()), tuple(mutations))

    def expect(self, change: Change) -> Applied:
        self.position += 1
        outcomes = []
        for mutation in change.mutations:
            existed = mutation.item_id in self.rows
            version = self.rows[mutation.item_id][1] if existed else 0
            if mutation.if_version not in (None, version):
                outcomes.append(Outcome(version, existed, conflict=True))
            elif isinstance(mutation, Delete):
                self.rows.pop(mutation.item_id, None)
                outcomes.append(Outcome(0, existed))
            else:
                self.rows[mutation.item_id] = (mutation, self.position)
                outcomes.append(Outcome(self.position, existed))
        applied = Applied(self.position, tuple(outcomes))
        self.done.append((change, applied))
        return applied

    @rule(groups=st.lists(MUTATIONS, min_size=1, max_size=3))
    def apply(self, groups: list[list[Mutation]]) -> None:
        changes, expected = [], []
        for mutations in groups:
            change = self.change(mutations)
            changes.append(change)
            expected.append(self.expect(change))
        assert self.store.apply(changes).results == expected

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def retry(self, data: Any) -> None:
        change, applied = data.draw(st.sampled_from(self.done))
        other = Change(change.request_id, b"other", ())
        again, refused = self.store.apply([change, other]).results
        assert again == applied
        assert isinstance(refused, InvalidInputError)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = RowStore(self.folder, "g")

    @invariant()
    def rows_are_the_model(self) -> None:
        rows, more = self.store.page("", 100, True, 10**6)
        assert not more
        ordered = sorted(self.rows.items(), key=lambda entry: entry[0].encode())
        assert [(row.item, row.version, row.vector) for row in rows] == [
            (upsert.item, version, upsert.vector.tobytes()) for _, (upsert, version) in ordered
        ]

    @invariant()
    def counts_and_products_are_the_models(self) -> None:
        entries = self.store.index_entries(0)
        keys = [upsert.product_id or (upsert.item_id,) for upsert, _ in self.rows.values()]
        assert self.store.position == self.position
        assert len(entries.row_numbers) == self.store.item_count == len(keys)
        assert len(set(entries.product_numbers)) == self.store.product_count == len(set(keys))

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
