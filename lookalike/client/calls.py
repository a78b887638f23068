"""Every unary call of the public API as data, so that both clients only have to send it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from lookalike.client import answers, checks, requests
from lookalike.client.server_types import Alias, Collection, CollectionOptions, ServerInfo
from lookalike.client.types import (
    Classification,
    DeleteResult,
    GetResult,
    Item,
    Photo,
    Region,
    Search,
    SearchResult,
    StoredItem,
    UpsertResult,
)
from lookalike.errors import InvalidInputError, LookalikeError, Reason
from lookalike.limits import MAX_MESSAGE_BYTES
from lookalike.matching import MatchCalibration
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
    """One unary call.

    Attributes:
        stub: Its service.
        method: The method of the stub.
        request: What to send.
        read: Reads the answer.
        repeatable: Whether the same call again has the same answer, so that it may be tried again. Writes do:
            each carries a request id, and the server applies one request id once.
    """

    stub: str
    method: str
    request: Message
    read: Callable[[Any], T]
    repeatable: bool = True

    def __post_init__(self) -> None:
        size = self.request.ByteSize()
        if size > MAX_MESSAGE_BYTES:
            raise InvalidInputError(
                f"the request has {size} bytes, at most {MAX_MESSAGE_BYTES} fit into one message",
                reason=Reason.BATCH_TOO_LARGE,
                metadata={"max_bytes": str(MAX_MESSAGE_BYTES)},
            )


def search(request: Search) -> Call[SearchResult]:
    """One search."""
    return Call("search", "Search", requests.search_request(request), answers.search_result)


def multi_search(searches: Sequence[Search]) -> Call[list[SearchResult | LookalikeError]]:
    """Several searches."""
    request = search_pb2.MultiSearchRequest(
        searches=map(requests.search_request, checks.many(searches, "searches", "Search"))
    )

    def read(response: search_pb2.MultiSearchResponse) -> list[SearchResult | LookalikeError]:
        return [answers.search_outcome(result) for result in response.results]

    return Call("search", "MultiSearch", request, read)


def classify(
    image: Photo,
    k: int,
    region: Region | tuple[float, float, float, float] | None,
    collection: str | None = None,
) -> Call[Classification]:
    """The categories of a photo, by the model or together with the items of a collection."""

    def read(response: search_pb2.ClassifyResponse) -> Classification:
        return Classification(
            predictions=answers.predictions(response.predictions),
            model_version=response.model_version,
            category=tuple(response.predicted_category.names),
        )

    request = search_pb2.ClassifyRequest(
        image=requests.image_message(image, region, "image"),
        k=checks.integer(k, "k"),
        collection=checks.optional_text(collection, "collection"),
    )
    return Call("search", "Classify", request, read)


def server_info() -> Call[ServerInfo]:
    """What the server is."""
    return Call("search", "GetServerInfo", search_pb2.GetServerInfoRequest(), answers.server_info)


def upsert(items: Iterable[Item], collection: str, request_id: str | None) -> Call[UpsertResult]:
    """A write of 1 to 256 items; without a request id it gets a new one, so that a retry is safe."""
    request = catalog_pb2.UpsertItemsRequest(
        collection=checks.text(collection, "collection"),
        request_id=_request_id(request_id),
        items=map(requests.upsert_item, checks.many(items, "items", "Item")),
    )
    return Call("catalog", "UpsertItems", request, answers.upsert_result)


def delete(
    item_ids: Iterable[str],
    collection: str,
    request_id: str | None,
    if_versions: Mapping[str, int] | None = None,
) -> Call[DeleteResult]:
    """A deletion of 1 to 1000 items, of some only at the versions that are given."""
    request = catalog_pb2.DeleteItemsRequest(
        collection=checks.text(collection, "collection"),
        request_id=_request_id(request_id),
        item_ids=checks.texts(item_ids, "item_ids", "ids"),
        if_versions=checks.versions(if_versions or {}, "if_versions"),
    )

    def read(response: catalog_pb2.DeleteItemsResponse) -> DeleteResult:
        return DeleteResult(
            deleted_count=response.deleted_count,
            missing_count=response.missing_count,
            receipt=answers.write_receipt(response.receipt),
            failures=tuple(map(answers.item_failure, response.failures)),
        )

    return Call("catalog", "DeleteItems", request, read)


def get(item_ids: Iterable[str], collection: str, include_embeddings: bool) -> Call[GetResult]:
    """Items by id."""
    request = catalog_pb2.GetItemsRequest(
        collection=checks.text(collection, "collection"),
        item_ids=checks.texts(item_ids, "item_ids", "ids"),
        include_embeddings=checks.flag(include_embeddings, "include_embeddings"),
    )
    return Call("catalog", "GetItems", request, answers.get_result)


def list_page(
    collection: str, page_size: int, page_token: str, include_embeddings: bool
) -> Call[tuple[list[StoredItem], str]]:
    """One page of items, and the token of the next; an empty one after the last."""
    request = catalog_pb2.ListItemsRequest(
        collection=checks.text(collection, "collection"),
        page_size=checks.integer(page_size, "page_size"),
        page_token=page_token,
        include_embeddings=checks.flag(include_embeddings, "include_embeddings"),
    )

    def read(response: catalog_pb2.ListItemsResponse) -> tuple[list[StoredItem], str]:
        return [answers.stored_item(item) for item in response.items], response.next_page_token

    return Call("catalog", "ListItems", request, read)


def count(collection: str) -> Call[int]:
    """How many items a collection has."""

    def read(response: catalog_pb2.CountItemsResponse) -> int:
        return response.item_count

    request = catalog_pb2.CountItemsRequest(collection=checks.text(collection, "collection"))
    return Call("catalog", "CountItems", request, read)


def create_collection(name: str, options: CollectionOptions, repair: bool = False) -> Call[Collection]:
    """A new collection."""
    spec = requests.collection_spec(options)
    request = collection_pb2.CreateCollectionRequest(
        name=checks.text(name, "name"), spec=spec, repair=checks.flag(repair, "repair")
    )

    def read(response: collection_pb2.CreateCollectionResponse) -> Collection:
        created = answers.collection(response.collection)
        return replace(created, repaired_shards=tuple(response.repaired_shards))

    return Call("collection", "CreateCollection", request, read)


def get_collection(name: str) -> Call[Collection]:
    """A collection by its name or an alias, with its number of items."""

    def read(response: collection_pb2.GetCollectionResponse) -> Collection:
        found = answers.collection(response.collection, response.item_count)
        if not response.HasField("match_calibration"):
            return found
        return replace(found, match_calibration_in_use=answers.match_calibration(response.match_calibration))

    request = collection_pb2.GetCollectionRequest(name=checks.text(name, "name"))
    return Call("collection", "GetCollection", request, read)


def list_collections() -> Call[list[Collection]]:
    """All collections by name."""

    def read(response: collection_pb2.ListCollectionsResponse) -> list[Collection]:
        return [answers.collection(message) for message in response.collections]

    return Call("collection", "ListCollections", collection_pb2.ListCollectionsRequest(), read)


def delete_collection(name: str) -> Call[None]:
    """The end of a collection and all its items; a repeat would answer that there is none."""
    request = collection_pb2.DeleteCollectionRequest(name=checks.text(name, "name"))
    return Call("collection", "DeleteCollection", request, _nothing, repeatable=False)


def set_match_calibration(
    name: str, calibration: MatchCalibration | None, model_version: str
) -> Call[Collection]:
    """Gives a collection a calibration of its own, or that of its model again."""
    request = collection_pb2.SetMatchCalibrationRequest(collection=checks.text(name, "collection"))
    if calibration is not None:
        model = checks.text(model_version, "model_version")
        request.match_calibration.CopyFrom(calibration.to_message(model))

    def read(response: collection_pb2.SetMatchCalibrationResponse) -> Collection:
        return answers.collection(response.collection)

    return Call("collection", "SetMatchCalibration", request, read)


def set_alias(name: str, collection: str) -> Call[str]:
    """Points an alias to a collection; a repeat would not know any more where it pointed before."""
    message = collection_pb2.Alias(
        name=checks.text(name, "name"), collection=checks.text(collection, "collection")
    )

    def read(response: collection_pb2.SetAliasResponse) -> str:
        return response.previous_collection

    request = collection_pb2.SetAliasRequest(alias=message)
    return Call("collection", "SetAlias", request, read, repeatable=False)


def delete_alias(name: str) -> Call[None]:
    """The end of an alias; a repeat would answer that there is none."""
    request = collection_pb2.DeleteAliasRequest(name=checks.text(name, "name"))
    return Call("collection", "DeleteAlias", request, _nothing, repeatable=False)


def list_aliases() -> Call[list[Alias]]:
    """All aliases by name."""

    def read(response: collection_pb2.ListAliasesResponse) -> list[Alias]:
        return [answers.alias(message) for message in response.aliases]

    return Call("collection", "ListAliases", collection_pb2.ListAliasesRequest(), read)


def _request_id(given: str | None) -> str:
    return checks.optional_text(given, "request_id") or str(uuid.uuid4())


def _nothing(response: Message) -> None:
    del response
