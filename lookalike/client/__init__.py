"""The Python client of Lookalike.

    from lookalike.client import Client, Equals

    with Client("127.0.0.1:7700") as client:
        for hit in client.search(image="shoe.jpg", k=5).hits:
            print(hit.product_id, hit.score, hit.title)
        blue = client.search(image="shoe.jpg", filter=Equals("colour", "blue"))

:class:`AsyncClient` has the same methods as coroutines. Both raise the errors of :mod:`lookalike.errors`.
"""

from lookalike.client.aio import AsyncClient
from lookalike.client.gates import CategoryGate
from lookalike.client.server_types import Alias, Collection, CollectionOptions, Limits, ServerInfo
from lookalike.client.sync import Client
from lookalike.client.types import (
    CategoryPrediction,
    Classification,
    Coverage,
    DeleteResult,
    GetResult,
    Hit,
    IngestProgress,
    IngestReport,
    Item,
    ItemResult,
    Photo,
    Region,
    Search,
    SearchResult,
    StoredItem,
    Timing,
    UpsertResult,
    Vector,
    WriteReceipt,
)
from lookalike.filters import Condition, Equals, Filter, In, InCategories, InCategory, Range
from lookalike.matching import MatchCalibration
from lookalike.wire.status import code_of

__all__ = [
    "Alias",
    "AsyncClient",
    "CategoryGate",
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
    "InCategories",
    "InCategory",
    "IngestProgress",
    "IngestReport",
    "Item",
    "ItemResult",
    "Limits",
    "MatchCalibration",
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
