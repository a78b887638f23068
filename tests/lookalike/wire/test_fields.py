from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lookalike.v1 import search_pb2, types_pb2
from lookalike.wire.fields import as_field


@given(st.integers(0, 40_000))
def test_a_field_is_what_protobuf_makes_of_it(size: int) -> None:
    hit = search_pb2.Hit(title="x" * size)
    response = search_pb2.SearchResponse(hits=[hit])
    number = search_pb2.SearchResponse.HITS_FIELD_NUMBER
    assert as_field(number, hit.SerializeToString()) == response.SerializeToString()
    path = types_pb2.CategoryPath(names=["y" * size])
    number = types_pb2.CategoryPath.NAMES_FIELD_NUMBER
    assert as_field(number, b"y" * size) == path.SerializeToString()
