"""What a search answers with is what Get returns, whatever became of the rows and of the index."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hasher.attributes import attributes_of
from hasher.documents import document_of
from hasher.index import HashIndex
from hasher.index_files import INDEX_PREFIX
from hasher.log.base import Change, Delete, Upsert
from lookalike.collections import Rerank, Spec
from lookalike.v1 import types_pb2
from tests.hasher.generations import opened
from tests.hasher.port_search import SearchQuery, search

DIMENSION = 4
NUMBERS = st.integers(0, 40)
TEXTS = st.sampled_from(["", "a", "Ärmel", "x" * 300])
ITEMS = st.builds(
    lambda number, product, title, path, colour: types_pb2.Item(
        item_id=f"i{number}",
        product_id=product,
        title=title,
        category=types_pb2.CategoryPath(names=path),
        attributes={"colour": colour, "size": str(number)} if colour else {},
        image_uri=title * 2,
    ),
    NUMBERS,
    st.sampled_from(["", "p", "q"]),
    TEXTS,
    st.lists(st.sampled_from(["Home", "Mugs"]), max_size=2),
    TEXTS,
)
BATCHES = st.lists(ITEMS, min_size=1, max_size=20, unique_by=lambda item: item.item_id)


def vector_of(item: types_pb2.Item) -> np.ndarray[Any, np.dtype[np.float32]]:
    # Titles move items; equal numbers modulo five are equally far from anything.
    number = int(item.item_id.removeprefix("i")) % 5 + 10 * len(item.title)
    vector = np.random.default_rng(number).standard_normal(DIMENSION).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


class DocumentMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.shard = opened(self.folder)
        self.requests = 0

    @initialize(rerank=st.sampled_from(list(Rerank)))
    def create(self, rerank: Rerank) -> None:
        self.shard.create("g", Spec("m", DIMENSION, 64, 16, rerank), "create")

    def write(self, *mutations: Any) -> None:
        self.requests += 1
        change = Change(f"r{self.requests}", b"h", mutations)
        self.shard.generation("g").submit(change).result(20)

    @rule(items=BATCHES)
    def upsert(self, items: list[types_pb2.Item]) -> None:
        self.write(
            *(
                Upsert(
                    item.item_id,
                    item.product_id,
                    item.SerializeToString(),
                    vector_of(item),
                    attributes_of(item),
                    document_of(item),
                )
                for item in items
            )
        )

    @rule(numbers=st.sets(NUMBERS, min_size=1, max_size=20))
    def delete(self, numbers: set[int]) -> None:
        self.write(*(Delete(f"i{number}") for number in numbers))

    @rule()
    def save(self) -> None:
        self.shard.checkpoint()

    @rule()
    def restart(self) -> None:
        self.shard.close()
        self.shard = opened(self.folder)

    @rule()
    def crash(self) -> None:
        """Goes on with a copy of the files as they are: the saved index lacks the last changes."""
        copy = Path(tempfile.mkdtemp())
        shutil.copytree(self.folder, copy, dirs_exist_ok=True)
        self.shard.close()
        shutil.rmtree(self.folder)
        self.folder = copy
        self.shard = opened(self.folder)

    @rule()
    def lose_the_index(self) -> None:
        self.shard.close()
        for saved in (self.folder / "g").glob(f"{INDEX_PREFIX}*"):
            shutil.rmtree(saved)
        self.shard = opened(self.folder)

    @invariant()
    def searches_answer_with_what_get_returns(self) -> None:
        if not self.shard.generations():
            return
        generation = self.shard.generation("g")
        stored = [types_pb2.Item.FromString(row.item) for row in generation.page("", 100, False, 10**6)[0]]
        expected = sorted(map(document_of, stored))
        queries = np.stack([np.eye(DIMENSION, dtype=np.float32)[0], np.ones(DIMENSION, dtype=np.float32)])
        for exact in (False, True):
            answer = search(generation, SearchQuery(queries, 100, group=False, exact=exact, effort=1.0))
            for hits in answer.hits:
                assert sorted(hit.document for hit in hits) == expected

    def teardown(self) -> None:
        self.shard.close()
        shutil.rmtree(self.folder)


TestDocuments = DocumentMachine.TestCase
TestDocuments.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_documents_outlive_compactions_in_the_background(tmp_path: Path) -> None:
    """Beyond 20,000 items the index drops replaced rows while it is in use."""
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((21_000, 8)).astype(np.float32)
    ids = np.arange(21_000, dtype=np.uint64)
    documents = [
        document_of(types_pb2.Item(item_id=f"i{number}", title=f"title {number}")) for number in range(21_000)
    ]
    index = HashIndex.build(vectors, ids, documents=documents, bits=64)
    replaced = range(5_000, 10_000)
    for number in replaced:
        documents[number] = document_of(types_pb2.Item(item_id=f"i{number}", title="replaced"))
    chosen = ids[replaced.start : replaced.stop]
    index.add(vectors[chosen], chosen, documents=documents[replaced.start : replaced.stop])
    index.remove(ids[:1_000])
    index.wait_for_rebuild()
    assert index.documents(ids) == [None] * 1_000 + documents[1_000:]
    index.save(tmp_path)
    assert HashIndex.open(tmp_path).documents(ids) == [None] * 1_000 + documents[1_000:]
