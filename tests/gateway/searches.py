"""Requests of searches, and what their failures say."""

from __future__ import annotations

import grpc
from google.rpc import error_details_pb2, status_pb2

from lookalike.v1 import search_pb2, types_pb2

CODE = grpc.StatusCode
EMBEDDING = search_pb2.Query(embedding=types_pb2.Embedding(values=[1.0] * 8))
IMAGE = search_pb2.Query(image=types_pb2.Image(content=b"photo"))


def search_request(**fields: object) -> search_pb2.SearchRequest:
    request = {"collection": "shop", "query": EMBEDDING, "k": 10} | fields
    return search_pb2.SearchRequest(**{k: v for k, v in request.items() if v is not None})


def vector_query(values: list[float], model: str = "") -> search_pb2.Query:
    return search_pb2.Query(embedding=types_pb2.Embedding(values=values, model_version=model))


def photo_query(content: bytes = b"photo", region: tuple[float, ...] | None = None) -> search_pb2.Query:
    image = types_pb2.Image(content=content)
    if region:
        image.region.CopyFrom(
            types_pb2.Region(**dict(zip(("x_min", "y_min", "x_max", "y_max"), region, strict=True)))
        )
    return search_pb2.Query(image=image)


def photos_query(*contents: bytes) -> search_pb2.Query:
    images = [types_pb2.Image(content=content) for content in contents]
    return search_pb2.Query(images=types_pb2.ImageSet(images=images))


def in_category(name: str) -> types_pb2.Filter:
    condition = types_pb2.Condition(in_category=types_pb2.CategoryPath(names=[name]))
    return types_pb2.Filter(all=[condition])


def one_of(values: int, size: int) -> types_pb2.Filter:
    message = types_pb2.Filter()
    getattr(message.all.add(), "in").MergeFrom(types_pb2.AttributeIn(name="a", values=["v" * size] * values))
    return message


def details_of(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str, str]:
    """Code, reason and field, from the rich details as any client sees them."""
    (raw,) = [v for k, v in error.trailing_metadata() if k == "grpc-status-details-bin"]
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(raw).details:
        detail.Unpack(info)
        detail.Unpack(bad)
    assert info.domain == "lookalike"
    return error.code(), info.reason, bad.field_violations[0].field if bad.field_violations else ""
