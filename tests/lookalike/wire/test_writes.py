"""Plain writes are read as their messages say, and nothing else is called plain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike import limits
from lookalike.v1 import catalog_pb2, hasher_pb2, types_pb2
from lookalike.wire.vectors import unit
from lookalike.wire.writes import mutations_of, rows_of

DIMENSION = 4
MODEL = "m"

texts = st.text(max_size=8)
names = st.text(min_size=1, max_size=8)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
values = st.tuples(st.floats(0.5, 2.0**99, width=32), *[floats] * (DIMENSION - 1))
items = st.builds(
    types_pb2.Item,
    item_id=names,
    product_id=texts,
    title=texts,
    category=st.none() | st.builds(types_pb2.CategoryPath, names=st.lists(names, max_size=3)),
    attributes=st.dictionaries(names, texts, max_size=2),
    image_uri=texts,
)
upserts = st.builds(
    catalog_pb2.UpsertItem,
    item=items,
    embedding=st.builds(types_pb2.Embedding, values=values, model_version=st.sampled_from(["", MODEL])),
    if_version=st.none() | st.integers(0, 2**64 - 1),
)


def plain(*upserts: catalog_pb2.UpsertItem) -> list[bytes | None]:
    return mutations_of([upsert.SerializeToString() for upsert in upserts], DIMENSION, MODEL)


def example(**changes: Any) -> catalog_pb2.UpsertItem:
    item = {"item_id": "i", "product_id": "p", "title": "t", "attributes": {"a": "1"}, "image_uri": "u"}
    category = types_pb2.CategoryPath(names=changes.pop("names", ["x", "y"]))
    embedding = types_pb2.Embedding(
        values=changes.pop("values", [1.0, 2.0, 3.0, 4.0]), model_version=changes.pop("model", "")
    )
    return catalog_pb2.UpsertItem(
        item=types_pb2.Item(**item | changes, category=category), embedding=embedding
    )


@given(st.lists(upserts, min_size=1, max_size=3))
def test_a_mutation_says_what_its_item_said(several: list[catalog_pb2.UpsertItem]) -> None:
    for upsert, encoded in zip(several, plain(*several), strict=True):
        assert encoded is not None
        (mutation,) = hasher_pb2.Mutations.FromString(encoded).mutations
        assert mutation.upsert.item == upsert.item
        assert mutation.HasField("if_version") == upsert.HasField("if_version")
        assert mutation.if_version == upsert.if_version
        expected = unit(np.array(upsert.embedding.values, np.float32), "")
        found = np.frombuffer(mutation.upsert.vector_f32_le, "<f4")
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-38)


@given(st.lists(upserts, min_size=1, max_size=3))
def test_a_row_says_what_its_mutation_said(several: list[catalog_pb2.UpsertItem]) -> None:
    encoded = b"".join(one for one in plain(*several) if one is not None)
    write = hasher_pb2.Mutations.FromString(encoded)
    write.model_version = MODEL
    found = rows_of(write.SerializeToString(), DIMENSION)
    assert found is not None
    rows, vectors = found
    assert vectors.shape == (len(several), DIMENSION)
    for upsert, row in zip(several, rows, strict=True):
        item = upsert.item
        assert (row.item_id, row.product_id) == (item.item_id, item.product_id)
        assert types_pb2.Item.FromString(row.item) == item
        assert row.category == tuple(item.category.names)
        assert row.attributes == dict(item.attributes)
        assert row.if_version == (upsert.if_version if upsert.HasField("if_version") else None)


@pytest.mark.parametrize(
    "change",
    [
        {"item_id": ""},
        {"item_id": "i" * (limits.MAX_ID_BYTES + 1)},
        {"product_id": "é" * (limits.MAX_ID_BYTES // 2 + 1)},
        {"title": "t" * (limits.MAX_TITLE_BYTES + 1)},
        {"image_uri": "u" * (limits.MAX_IMAGE_URI_BYTES + 1)},
        {"names": ["a", ""]},
        {"names": ["a"] * (limits.MAX_CATEGORY_LEVELS + 1)},
        {"names": ["a" * (limits.MAX_CATEGORY_NAME_BYTES + 1)]},
        {"attributes": {"": "1"}},
        {"attributes": {"a" * (limits.MAX_ATTRIBUTE_NAME_BYTES + 1): "1"}},
        {"attributes": {"a": "1" * (limits.MAX_ATTRIBUTE_VALUE_BYTES + 1)}},
        {"attributes": {str(n): "" for n in range(limits.MAX_ATTRIBUTES + 1)}},
        {"values": [0.0] * DIMENSION},
        {"values": [1.0] * (DIMENSION + 1)},
        {"values": [1.0, float("nan"), 0.0, 0.0]},
        {"values": [1.0, float("inf"), 0.0, 0.0]},
        {"model": "other"},
    ],
)
def test_what_breaks_the_contract_is_not_plain(change: dict[str, Any]) -> None:
    assert plain(example()) != [None]
    assert plain(example(**change)) == [None]


@pytest.mark.parametrize(
    "item",
    [
        example(item_id="i" * limits.MAX_ID_BYTES, names=["a" * limits.MAX_CATEGORY_NAME_BYTES] * 3),
        example(title="t" * limits.MAX_TITLE_BYTES, image_uri="u" * limits.MAX_IMAGE_URI_BYTES),
        example(attributes={f"{n:064}": "v" * 1024 for n in range(limits.MAX_ATTRIBUTES)}, model=MODEL),
    ],
)
def test_what_just_keeps_to_the_contract_is_plain(item: catalog_pb2.UpsertItem) -> None:
    assert plain(item) != [None]


def test_photos_and_unknown_fields_are_not_plain() -> None:
    photo = catalog_pb2.UpsertItem(item=types_pb2.Item(item_id="i"), image=types_pb2.Image(content=b"x"))
    unknown = b"\x78\x01"  # field 15
    assert plain(photo) == [None]
    assert mutations_of([example().SerializeToString() + unknown], DIMENSION, MODEL) == [None]


def test_a_deletion_is_not_plain() -> None:
    write = hasher_pb2.Mutations(mutations=[hasher_pb2.Mutation(delete_item_id="i")])
    assert rows_of(write.SerializeToString(), DIMENSION) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_harm(data: bytes) -> None:
    mutations_of([data], DIMENSION, MODEL)
    rows_of(b"\x12" + bytes([min(len(data), 127)]) + data[:127], DIMENSION)
