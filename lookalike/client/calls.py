"""Every unary call of the public API as data, so that both clients only have to send it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from lookalike.client import convert
from lookalike.client.types import (
    Alias,
    Classification,
    Collection,
    DeleteResult,
    GetResult,
    Item,
    Photo,
    Region,
    Search,
    SearchResult,
    ServerInfo,
    StoredItem,
    UpsertResult,
)
from lookalike.errors import LookalikeError
from lookalike.v1 import (
    catalog_pb2,
    catalog_pb2_grpc,
    collection_pb2,
    collection_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)

T = TypeVar("T")

STUBS: dict[str, Callable[[Any], Any]] = {
    "search": search_pb2_grpc.SearchServiceStub,
    "catalog": catalog_pb2_grpc.CatalogServiceStub,
    "collection": collection_pb2_grpc.CollectionServiceStub,
}


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One unary call: the method of the stub, what to send, and how to read the answer."""

    stub: str
    method: str
    request: Message
    read: Callable[[Any], T]


def search(request: Search) -> Call[SearchResult]:
    """One search."""
    return Call("search", "Search", convert.search_request(request), convert.search_result)


def multi_search(searches: Sequence[Search]) -> Call[list[SearchResult | LookalikeError]]:
    """Several searches."""
    request = search_pb2.MultiSearchRequest(searches=map(convert.search_request, searches))

    def read(response: search_pb2.MultiSearchResponse) -> list[SearchResult | LookalikeError]:
        return [convert.search_outcome(result) for result in response.results]

    return Call("search", "MultiSearch", request, read)


def classify(
    image: Photo, k: int, region: Region | tuple[float, float, float, float] | None
) -> Call[Classification]:
    """The categories of a photo."""

    def read(response: search_pb2.ClassifyResponse) -> Classification:
        return Classification(convert.predictions(response.predictions), response.model_version)

    return Call("search", "Classify", convert.classify_request(image, k, region), read)


def server_info() -> Call[ServerInfo]:
    """What the server is."""
    return Call("search", "GetServerInfo", search_pb2.GetServerInfoRequest(), convert.server_info)


def upsert(items: Iterable[Item], collection: str, request_id: str | None) -> Call[UpsertResult]:
    """A write of 1 to 256 items; without a request id it gets a new one, so that a retry is safe."""
    request = catalog_pb2.UpsertItemsRequest(
        collection=collection,
        request_id=request_id or str(uuid.uuid4()),
        items=map(convert.upsert_item, items),
    )
    return Call("catalog", "UpsertItems", request, convert.upsert_result)


def delete(item_ids: Iterable[str], collection: str, request_id: str | None) -> Call[DeleteResult]:
    """A deletion of 1 to 1000 items."""
    request = catalog_pb2.DeleteItemsRequest(
        collection=collection, request_id=request_id or str(uuid.uuid4()), item_ids=item_ids
    )

    def read(response: catalog_pb2.DeleteItemsResponse) -> DeleteResult:
        receipt = convert.write_receipt(response.receipt)
        return DeleteResult(response.deleted_count, response.missing_count, receipt)

    return Call("catalog", "DeleteItems", request, read)


def get(item_ids: Iterable[str], collection: str, include_embeddings: bool) -> Call[GetResult]:
    """Items by id."""
    request = catalog_pb2.GetItemsRequest(
        collection=collection, item_ids=item_ids, include_embeddings=include_embeddings
    )
    return Call("catalog", "GetItems", request, convert.get_result)


def list_page(
    collection: str, page_size: int, page_token: str, include_embeddings: bool
) -> Call[tuple[list[StoredItem], str]]:
    """One page of items, and the token of the next; an empty one after the last."""
    request = catalog_pb2.ListItemsRequest(
        collection=collection,
        page_size=convert.uint32(page_size, "page_size"),
        page_token=page_token,
        include_embeddings=include_embeddings,
    )

    def read(response: catalog_pb2.ListItemsResponse) -> tuple[list[StoredItem], str]:
        return [convert.stored_item(item) for item in response.items], response.next_page_token

    return Call("catalog", "ListItems", request, read)


def count(collection: str) -> Call[int]:
    """How many items a collection has."""

    def read(response: catalog_pb2.CountItemsResponse) -> int:
        return response.item_count

    return Call("catalog", "CountItems", catalog_pb2.CountItemsRequest(collection=collection), read)


def create_collection(
    name: str, *, model_version: str, dimension: int, bits: int, partition_count: int
) -> Call[Collection]:
    """A new collection; zeros and empty texts leave the choice to the server."""
    spec = collection_pb2.CollectionSpec(
        model_version=model_version,
        dimension=convert.uint32(dimension, "spec.dimension"),
        bits=convert.uint32(bits, "spec.bits"),
        partition_count=convert.uint32(partition_count, "spec.partition_count"),
    )
    request = collection_pb2.CreateCollectionRequest(name=name, spec=spec)

    def read(response: collection_pb2.CreateCollectionResponse) -> Collection:
        return convert.collection(response.collection)

    return Call("collection", "CreateCollection", request, read)


def get_collection(name: str) -> Call[Collection]:
    """A collection by its name or an alias, with its number of items."""

    def read(response: collection_pb2.GetCollectionResponse) -> Collection:
        return convert.collection(response.collection, response.item_count)

    request = collection_pb2.GetCollectionRequest(name=name)
    return Call("collection", "GetCollection", request, read)


def list_collections() -> Call[list[Collection]]:
    """All collections by name."""

    def read(response: collection_pb2.ListCollectionsResponse) -> list[Collection]:
        return [convert.collection(message) for message in response.collections]

    return Call("collection", "ListCollections", collection_pb2.ListCollectionsRequest(), read)


def delete_collection(name: str) -> Call[None]:
    """The end of a collection and all its items."""
    request = collection_pb2.DeleteCollectionRequest(name=name)
    return Call("collection", "DeleteCollection", request, _nothing)


def set_alias(name: str, collection: str) -> Call[str]:
    """Points an alias to a collection; the answer is where it pointed before, or empty."""
    message = collection_pb2.Alias(name=name, collection=collection)

    def read(response: collection_pb2.SetAliasResponse) -> str:
        return response.previous_collection

    return Call("collection", "SetAlias", collection_pb2.SetAliasRequest(alias=message), read)


def delete_alias(name: str) -> Call[None]:
    """The end of an alias."""
    return Call("collection", "DeleteAlias", collection_pb2.DeleteAliasRequest(name=name), _nothing)


def list_aliases() -> Call[list[Alias]]:
    """All aliases by name."""

    def read(response: collection_pb2.ListAliasesResponse) -> list[Alias]:
        return [convert.alias(message) for message in response.aliases]

    return Call("collection", "ListAliases", collection_pb2.ListAliasesRequest(), read)


def _nothing(response: Message) -> None:
    del response
