"""Documents against the items that they are made of, read as hits."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hasher.documents import document_of
from lookalike.v1 import hasher_pb2, search_pb2, types_pb2
from lookalike.wire.writes import rows_of

TEXTS = st.text(max_size=20)
ITEMS = st.builds(
    lambda category, **fields: types_pb2.Item(
        category=None if category is None else types_pb2.CategoryPath(names=category), **fields
    ),
    category=st.none() | st.lists(TEXTS, max_size=3),
    item_id=st.text(min_size=1, max_size=128),
    product_id=st.text(max_size=128),
    title=TEXTS,
    attributes=st.dictionaries(TEXTS, TEXTS, max_size=5),
    image_uri=TEXTS,
)


@given(item=ITEMS, score=st.floats(-1, 1, width=32))
def test_a_document_with_a_score_is_the_hit(item: types_pb2.Item, score: float) -> None:
    document = document_of(item)
    expected = search_pb2.Hit(
        product_id=item.product_id,
        item_id=item.item_id,
        attributes=item.attributes,
        title=item.title,
        image_uri=item.image_uri,
    )
    if item.HasField("category"):
        expected.category.CopyFrom(item.category)
    without = search_pb2.Hit.FromString(document)
    assert without == expected
    # As a search appends it.
    hit = search_pb2.Hit.FromString(document + struct.pack("<Bf", 0x1D, score))
    assert hit.score == np.float32(score)
    hit.ClearField("score")
    assert hit == expected


@given(item=ITEMS)
def test_equal_items_have_equal_documents_that_begin_with_their_ids(item: types_pb2.Item) -> None:
    backwards = types_pb2.Item()
    backwards.CopyFrom(item)
    backwards.ClearField("attributes")
    for name in reversed(list(item.attributes)):
        backwards.attributes[name] = item.attributes[name]
    document = document_of(item)
    assert document == document_of(backwards)
    ids = search_pb2.Hit(product_id=item.product_id, item_id=item.item_id)
    assert document.startswith(ids.SerializeToString())


@given(item=ITEMS)
def test_plain_rows_have_the_documents_of_their_items(item: types_pb2.Item) -> None:
    row = hasher_pb2.UpsertRow(item=item, vector_f32_le=np.ones(2, "<f4").tobytes())
    write = hasher_pb2.Mutations(mutations=[hasher_pb2.Mutation(upsert=row)])
    found = rows_of(write.SerializeToString(), dimension=2)
    if found is None:
        ids = (item.item_id, item.product_id)
        too_long = any(len(one.encode()) > 128 for one in ids)
        assert too_long or "" in (*item.category.names, *item.attributes)
        return
    assert [one.document for one in found[0]] == [document_of(item)]
