"""Documents against the items that they are made of, read as hits."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hasher.documents import document_of
from lookalike.v1 import search_pb2, types_pb2

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
