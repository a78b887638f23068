"""What SearchService refuses, through a real server and channel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import grpc
import pytest

from lookalike.v1 import search_pb2, types_pb2
from tests.gateway.searches import (
    details_of,
    in_category,
    one_of,
    photo_query,
    photos_query,
    search_request,
    vector_query,
)

if TYPE_CHECKING:
    from conftest import Gateway


BIG = b"x" * (12 * 1024 * 1024 + 1)
BAD_SEARCHES = {
    "no query": (search_request(query=None), "INVALID_ARGUMENT FIELD_MISSING query"),
    "k forgotten": (search_request(k=0), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE k"),
    "k too large": (search_request(k=1001), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE k"),
    "min_score NaN": (search_request(min_score=math.nan), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE min_score"),
    "min_score": (search_request(min_score=1.5), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE min_score"),
    "coverage": (search_request(min_coverage=1.1), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE min_coverage"),
    "coverage NaN": (
        search_request(min_coverage=math.nan),
        "INVALID_ARGUMENT FIELD_OUT_OF_RANGE min_coverage",
    ),
    "probes": (search_request(probes=0), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE probes"),
    "effort": (search_request(effort=1.5), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE effort"),
    "effort NaN": (search_request(effort=math.nan), "INVALID_ARGUMENT FIELD_OUT_OF_RANGE effort"),
    "filter": (
        search_request(filter=in_category("")),
        "INVALID_ARGUMENT CATEGORY_INVALID filter.all[0].in_category",
    ),
    "filter without test": (
        search_request(filter=types_pb2.Filter(none=[types_pb2.Condition()])),
        "INVALID_ARGUMENT FIELD_MISSING filter.none[0]",
    ),
    "filter too long": (
        search_request(filter=types_pb2.Filter(any=[*in_category("a").all] * 65)),
        "INVALID_ARGUMENT FIELD_OUT_OF_RANGE filter",
    ),
    "filter too large": (
        search_request(filter=one_of(256, 1024)),
        "INVALID_ARGUMENT FIELD_OUT_OF_RANGE filter",
    ),
    "filter's value": (
        search_request(filter=one_of(200, 1025)),
        "INVALID_ARGUMENT FIELD_OUT_OF_RANGE filter.all[0].in.values[0]",
    ),
    "gate of a vector": (
        search_request(category_gate=3),
        "INVALID_ARGUMENT CATEGORY_NOT_PREDICTED category_gate",
    ),
    "gate of no level": (search_request(category_gate=4), "INVALID_ARGUMENT FIELD_INVALID category_gate"),
    "gate of no mode": (
        search_request(category_gate=3, category_gate_mode=3),
        "INVALID_ARGUMENT FIELD_INVALID category_gate_mode",
    ),
    "mode without a gate": (
        search_request(category_gate_mode=1),
        "INVALID_ARGUMENT FIELD_INVALID category_gate_mode",
    ),
    "mass without a gate": (
        search_request(category_gate_mass=0.5),
        "INVALID_ARGUMENT FIELD_INVALID category_gate_mass",
    ),
    "mass of a boost": (
        search_request(category_gate=3, category_gate_mass=0.5),
        "INVALID_ARGUMENT FIELD_INVALID category_gate_mass",
    ),
    "no mass": (
        search_request(category_gate=3, category_gate_mode=2, category_gate_mass=0),
        "INVALID_ARGUMENT FIELD_OUT_OF_RANGE category_gate_mass",
    ),
    "mass NaN": (
        search_request(category_gate=3, category_gate_mode=2, category_gate_mass=math.nan),
        "INVALID_ARGUMENT FIELD_OUT_OF_RANGE category_gate_mass",
    ),
    "dimension": (
        search_request(query=vector_query([1.0] * 7)),
        "INVALID_ARGUMENT DIMENSION_MISMATCH query.embedding.values",
    ),
    "zero": (
        search_request(query=vector_query([0.0] * 8)),
        "INVALID_ARGUMENT VECTOR_ZERO query.embedding.values",
    ),
    "infinite": (
        search_request(query=vector_query([math.inf] * 8)),
        "INVALID_ARGUMENT VECTOR_NOT_FINITE query.embedding.values",
    ),
    "model": (
        search_request(query=vector_query([1.0] * 8, "model-b")),
        "FAILED_PRECONDITION MODEL_VERSION_MISMATCH query.embedding.model_version",
    ),
    "long model": (
        search_request(query=vector_query([1.0] * 8, "m" * 5000)),
        "INVALID_ARGUMENT FIELD_OUT_OF_RANGE query.embedding.model_version",
    ),
    "opposite photos": (
        search_request(query=photos_query(b"photo", b"opposite")),
        "INVALID_ARGUMENT VECTOR_ZERO query.images",
    ),
    "image empty": (
        search_request(query=photo_query(b"")),
        "INVALID_ARGUMENT IMAGE_EMPTY query.image.content",
    ),
    "image large": (
        search_request(query=photo_query(BIG)),
        "INVALID_ARGUMENT IMAGE_TOO_LARGE query.image.content",
    ),
    "image damaged": (
        search_request(query=photo_query(b"damaged")),
        "INVALID_ARGUMENT IMAGE_DAMAGED query.image.content",
    ),
    "second damaged": (
        search_request(query=photos_query(b"photo", b"damaged")),
        "INVALID_ARGUMENT IMAGE_DAMAGED query.images.images[1].content",
    ),
    "region": (
        search_request(query=photo_query(region=(0.5, 0, 0.5, 1))),
        "INVALID_ARGUMENT REGION_INVALID query.image.region",
    ),
    "region NaN": (
        search_request(query=photo_query(region=(math.nan, 0, 1, 1))),
        "INVALID_ARGUMENT REGION_INVALID query.image.region",
    ),
    "no images": (
        search_request(query=photos_query()),
        "INVALID_ARGUMENT FIELD_OUT_OF_RANGE query.images.images",
    ),
    "nine images": (
        search_request(query=photos_query(*[b"p"] * 9)),
        "INVALID_ARGUMENT FIELD_OUT_OF_RANGE query.images.images",
    ),
    "images large": (
        search_request(query=photos_query(*[b"p" * 2**21] * 7)),
        "INVALID_ARGUMENT IMAGE_TOO_LARGE query.images",
    ),
    "item id empty": (
        search_request(query=search_pb2.Query(item_id="")),
        "INVALID_ARGUMENT FIELD_MISSING query.item_id",
    ),
    "item id long": (
        search_request(query=search_pb2.Query(item_id="ä" * 65)),
        "INVALID_ARGUMENT FIELD_OUT_OF_RANGE query.item_id",
    ),
    "item unknown": (
        search_request(query=search_pb2.Query(item_id="nobody")),
        "NOT_FOUND ITEM_NOT_FOUND query.item_id",
    ),
    "collection unknown": (search_request(collection="nothing"), "NOT_FOUND COLLECTION_NOT_FOUND collection"),
    "collection malformed": (search_request(collection="No!"), "INVALID_ARGUMENT FIELD_INVALID collection"),
    "no default": (search_request(collection=""), "NOT_FOUND COLLECTION_NOT_FOUND collection"),
    "position": (search_request(min_log_position="?"), "INVALID_ARGUMENT FIELD_INVALID min_log_position"),
}


async def test_bad_searches_get_their_code_reason_and_field(gateway: Gateway) -> None:
    await gateway.create()
    for name, (request, expected) in BAD_SEARCHES.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.search.Search(request)
        code, reason, field = details_of(caught.value)
        assert f"{code.name} {reason} {field}" == expected, name
