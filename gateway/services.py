"""The public gRPC services: they check, call and convert; the runtime makes statuses of what they raise."""

# The contract names the methods.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import AsyncIterator

from gateway.checks import check_classify
from gateway.deadline import Deadline
from gateway.directory.base import Collection, Directory, State, check_name
from gateway.directory.lifecycle import Lifecycle
from gateway.ingest import Ingest
from gateway.matching import Calibrations, asked_calibration, message_of
from gateway.multi_search import search_many
from gateway.peers import Embedder
from gateway.reads import Reader
from gateway.search import SearchPipeline
from gateway.writes import Writer
from lookalike import __version__, limits
from lookalike.errors import InvalidInputError, LookalikeError
from lookalike.runtime.context import CallContext
from lookalike.v1 import (
    catalog_pb2,
    catalog_pb2_grpc,
    collection_pb2,
    collection_pb2_grpc,
    embedder_pb2,
    search_pb2,
    search_pb2_grpc,
)

_MODEL_LOOKUP_SECONDS = 1.0


def deadline_of(context: CallContext) -> Deadline:
    """Returns the deadline that the caller set, or the default one."""
    return Deadline(context.time_remaining(), context.waited_seconds())


class SearchServicer(search_pb2_grpc.SearchServiceServicer):
    """``lookalike.v1.SearchService``; calls that are not here answer NOT_SUPPORTED_YET.

    Args:
        pipeline: Answers searches.
        embedder: Classifies, and describes the model.
        shard_count: For GetServerInfo.
        max_message_bytes: Limit of one message in either direction.
    """

    def __init__(
        self, pipeline: SearchPipeline, embedder: Embedder, shard_count: int, max_message_bytes: int
    ) -> None:
        self._pipeline = pipeline
        self._embedder = embedder
        self._shard_count = shard_count
        self._max_message_bytes = max_message_bytes

    async def Search(self, request: search_pb2.SearchRequest, context: CallContext) -> bytes:
        """See search.proto; the answer is encoded already."""
        return await self._pipeline.search(request, deadline_of(context))

    async def MultiSearch(self, request: search_pb2.MultiSearchRequest, context: CallContext) -> bytes:
        """See search.proto; the answer is encoded already."""
        return await search_many(self._pipeline, request, deadline_of(context), self._max_message_bytes)

    async def Classify(
        self, request: search_pb2.ClassifyRequest, context: CallContext
    ) -> search_pb2.ClassifyResponse:
        """See search.proto."""
        check_classify(request)
        if request.collection:
            return await self._classify_with_vote(request, deadline_of(context))
        answer = await self._embedder.classify(
            embedder_pb2.EmbedderServiceClassifyRequest(image=request.image, k=request.k),
            timeout_seconds=deadline_of(context).call_timeout_seconds("classifying the photo"),
        )
        return search_pb2.ClassifyResponse(
            predictions=answer.predictions,
            model_version=answer.model_version,
            predicted_category=answer.predicted_category,
        )

    async def _classify_with_vote(
        self, request: search_pb2.ClassifyRequest, deadline: Deadline
    ) -> search_pb2.ClassifyResponse:
        """Predicts the categories of a photo as a search for it does; what else it finds is left out."""
        search = search_pb2.SearchRequest(
            collection=request.collection,
            query=search_pb2.Query(image=request.image),
            k=1,
            category_vote=True,
        )
        predictions = request.k or limits.DEFAULT_PREDICTIONS
        try:
            answer = await self._pipeline.search(search, deadline, predictions=predictions)
        except InvalidInputError as error:
            error.field = error.field.removeprefix("query.")
            raise
        found = search_pb2.SearchResponse.FromString(answer)
        return search_pb2.ClassifyResponse(
            predictions=found.predicted_categories,
            model_version=found.model_version,
            predicted_category=found.predicted_category,
        )

    async def GetServerInfo(
        self, request: search_pb2.GetServerInfoRequest, context: CallContext
    ) -> search_pb2.GetServerInfoResponse:
        """See search.proto."""
        response = search_pb2.GetServerInfoResponse(
            version=__version__,
            limits=search_pb2.Limits(
                max_message_bytes=self._max_message_bytes,
                max_image_bytes=limits.MAX_IMAGE_BYTES,
                max_k=limits.MAX_K,
                max_upsert_items=limits.MAX_UPSERT_ITEMS,
                max_multi_search=limits.MAX_MULTI_SEARCH,
                max_deadline_seconds=limits.MAX_DEADLINE_SECONDS,
                max_item_ids=limits.MAX_ITEM_IDS,
                max_page_size=limits.MAX_PAGE_SIZE,
                max_images_per_query=limits.MAX_IMAGES_PER_QUERY,
                max_filter_conditions=limits.MAX_FILTER_CONDITIONS,
                max_filter_values=limits.MAX_FILTER_VALUES,
                max_filter_bytes=limits.MAX_FILTER_BYTES,
            ),
            shards_total=self._shard_count,
        )
        try:
            model = await self._embedder.get_model(timeout_seconds=_MODEL_LOOKUP_SECONDS)
        except LookalikeError:
            return response
        response.model_version = model.model_version
        response.embedding_dimension = model.embedding_dimension
        response.match_calibration_version = model.match_calibration.version
        return response


class CatalogServicer(catalog_pb2_grpc.CatalogServiceServicer):
    """``lookalike.v1.CatalogService``.

    Args:
        writer: Upserts and deletes.
        reader: Reads back.
        ingest: Serves bulk loads.
    """

    def __init__(self, writer: Writer, reader: Reader, ingest: Ingest) -> None:
        self._writer = writer
        self._reader = reader
        self._ingest = ingest

    async def UpsertItems(
        self, request: catalog_pb2.UpsertItemsRequest, context: CallContext
    ) -> catalog_pb2.UpsertItemsResponse:
        """See catalog.proto."""
        return await self._writer.upsert(request, deadline_of(context))

    async def DeleteItems(
        self, request: catalog_pb2.DeleteItemsRequest, context: CallContext
    ) -> catalog_pb2.DeleteItemsResponse:
        """See catalog.proto."""
        return await self._writer.delete(request, deadline_of(context))

    async def GetItems(
        self, request: catalog_pb2.GetItemsRequest, context: CallContext
    ) -> catalog_pb2.GetItemsResponse:
        """See catalog.proto."""
        return await self._reader.get(request, deadline_of(context))

    async def ListItems(
        self, request: catalog_pb2.ListItemsRequest, context: CallContext
    ) -> catalog_pb2.ListItemsResponse:
        """See catalog.proto."""
        return await self._reader.list(request, deadline_of(context))

    async def CountItems(
        self, request: catalog_pb2.CountItemsRequest, context: CallContext
    ) -> catalog_pb2.CountItemsResponse:
        """See catalog.proto."""
        return await self._reader.count(request, deadline_of(context))

    async def IngestItems(
        self,
        request_iterator: AsyncIterator[catalog_pb2.IngestItemsRequest],
        context: CallContext,
    ) -> AsyncIterator[catalog_pb2.IngestItemsResponse]:
        """See catalog.proto."""
        async for response in self._ingest.run(request_iterator):
            yield response


class CollectionServicer(collection_pb2_grpc.CollectionServiceServicer):
    """``lookalike.v1.CollectionService``; calls that are not here answer NOT_SUPPORTED_YET.

    Args:
        directory: Which collections and aliases there are.
        lifecycle: Creates and deletes collections.
        reader: Counts items.
        calibrations: What makes the probabilities of searches.
    """

    def __init__(
        self, directory: Directory, lifecycle: Lifecycle, reader: Reader, calibrations: Calibrations
    ) -> None:
        self._directory = directory
        self._lifecycle = lifecycle
        self._reader = reader
        self._calibrations = calibrations

    async def CreateCollection(
        self, request: collection_pb2.CreateCollectionRequest, context: CallContext
    ) -> collection_pb2.CreateCollectionResponse:
        """See collection.proto."""
        collection, repaired = await self._lifecycle.create(request, deadline_of(context))
        return collection_pb2.CreateCollectionResponse(
            collection=_collection_message(collection), repaired_shards=repaired
        )

    async def GetCollection(
        self, request: collection_pb2.GetCollectionRequest, context: CallContext
    ) -> collection_pb2.GetCollectionResponse:
        """See collection.proto."""
        collection = self._directory.resolve(request.name, "name")
        return collection_pb2.GetCollectionResponse(
            collection=_collection_message(collection),
            item_count=await self._reader.count_in(collection, deadline_of(context)),
            match_calibration=message_of(self._calibrations.of(collection), collection),
        )

    async def ListCollections(
        self, request: collection_pb2.ListCollectionsRequest, context: CallContext
    ) -> collection_pb2.ListCollectionsResponse:
        """See collection.proto."""
        ready = [c for c in self._directory.collections() if c.state is State.READY]
        return collection_pb2.ListCollectionsResponse(collections=map(_collection_message, ready))

    async def DeleteCollection(
        self, request: collection_pb2.DeleteCollectionRequest, context: CallContext
    ) -> collection_pb2.DeleteCollectionResponse:
        """See collection.proto."""
        await self._lifecycle.delete(request.name, deadline_of(context))
        return collection_pb2.DeleteCollectionResponse()

    async def SetMatchCalibration(
        self, request: collection_pb2.SetMatchCalibrationRequest, context: CallContext
    ) -> collection_pb2.SetMatchCalibrationResponse:
        """See collection.proto."""
        collection = self._directory.resolve(request.collection)
        calibration = asked_calibration(request, collection.spec)
        changed = await self._directory.set_match_calibration(collection, calibration)
        return collection_pb2.SetMatchCalibrationResponse(collection=_collection_message(changed))

    async def SetAlias(
        self, request: collection_pb2.SetAliasRequest, context: CallContext
    ) -> collection_pb2.SetAliasResponse:
        """See collection.proto."""
        alias = check_name(request.alias.name, "alias.name")
        collection = check_name(request.alias.collection, "alias.collection")
        previous = await self._directory.set_alias(alias, collection)
        return collection_pb2.SetAliasResponse(alias=request.alias, previous_collection=previous)

    async def DeleteAlias(
        self, request: collection_pb2.DeleteAliasRequest, context: CallContext
    ) -> collection_pb2.DeleteAliasResponse:
        """See collection.proto."""
        await self._directory.delete_alias(check_name(request.name, "name"))
        return collection_pb2.DeleteAliasResponse()

    async def ListAliases(
        self, request: collection_pb2.ListAliasesRequest, context: CallContext
    ) -> collection_pb2.ListAliasesResponse:
        """See collection.proto."""
        aliases = [collection_pb2.Alias(name=a, collection=c) for a, c in self._directory.aliases()]
        return collection_pb2.ListAliasesResponse(aliases=aliases)


def _collection_message(collection: Collection) -> collection_pb2.Collection:
    message = collection_pb2.Collection(
        name=collection.name,
        spec=collection.spec.to_message(),
        generation=collection.generation,
        match_calibration=message_of(collection.match_calibration, collection),
    )
    message.create_time.FromNanoseconds(collection.create_time_ns)
    return message
