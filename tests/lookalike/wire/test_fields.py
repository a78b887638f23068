from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lookalike.v1 import search_pb2, types_pb2
from lookalike.wire.fields import as_field, fields_in


@given(st.integers(0, 40_000))
def test_a_field_is_what_protobuf_makes_of_it(size: int) -> None:
    hit = search_pb2.Hit(title="x" * size)
    response = search_pb2.SearchResponse(hits=[hit])
    number = search_pb2.SearchResponse.HITS_FIELD_NUMBER
    assert as_field(number, hit.SerializeToString()) == response.SerializeToString()
    path = types_pb2.CategoryPath(names=["y" * size])
    number = types_pb2.CategoryPath.NAMES_FIELD_NUMBER
    assert as_field(number, b"y" * size) == path.SerializeToString()


@given(st.lists(st.sampled_from([0, 1, 127, 128, 129, 300, 20_000]) | st.integers(0, 300), max_size=8))
def test_fields_are_taken_apart_again(sizes: list[int]) -> None:
    fields = [as_field(number % 15 + 1, b"z" * size) for number, size in enumerate(sizes)]
    found = list(fields_in(b"".join(fields)))
    assert [whole for whole, _ in found] == fields
    assert [content for _, content in found] == [b"z" * size for size in sizes]
