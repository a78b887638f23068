"""The Python client of Lookalike.

    from lookalike.client import Client, Equals

    with Client("127.0.0.1:7700") as client:
        for hit in client.search(image="shoe.jpg", k=5).hits:
            print(hit.product_id, hit.score, hit.title)
        blue = client.search(image="shoe.jpg", filter=Equals("colour", "blue"))

:class:`AsyncClient` has the same methods as coroutines. Both raise the errors of :mod:`lookalike.errors`.
"""

from lookalike.client.aio import AsyncClient
from lookalike.client.sync import Client
from lookalike.client.types import (
    Alias,
    CategoryPrediction,
    Classification,
    Collection,
    CollectionOptions,
    Coverage,
    DeleteResult,
    GetResult,
    Hit,
    IngestProgress,
    IngestReport,
    Item,
    ItemResult,
    Limits,
    Photo,
    Region,
    Search,
    SearchResult,
    ServerInfo,
    StoredItem,
    Timing,
    UpsertResult,
    Vector,
    WriteReceipt,
)
from lookalike.filters import Condition, Equals, Filter, In, InCategory, Range
from lookalike.wire.status import code_of

__all__ = [
    "Alias",
    "AsyncClient",
    "CategoryPrediction",
    "Classification",
    "Client",
    "Collection",
    "CollectionOptions",
    "Condition",
    "Coverage",
    "DeleteResult",
    "Equals",
    "Filter",
    "GetResult",
    "Hit",
    "In",
    "InCategory",
    "IngestProgress",
    "IngestReport",
    "Item",
    "ItemResult",
    "Limits",
    "Photo",
    "Range",
    "Region",
    "Search",
    "SearchResult",
    "ServerInfo",
    "StoredItem",
    "Timing",
    "UpsertResult",
    "Vector",
    "WriteReceipt",
    "code_of",
]
