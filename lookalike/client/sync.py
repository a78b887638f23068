"""The synchronous client. Written by scripts/unasync.py from aio.py; do not edit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc

from lookalike.addresses import DEFAULT_GATEWAY
from lookalike.client import calls, checks
from lookalike.client.failures import stream_error
from lookalike.client.ingest import IngestPlan, OnProgress
from lookalike.client.retries import Attempts, Throttle
from lookalike.client.server_types import Alias, Collection, CollectionOptions, ServerInfo
from lookalike.client.transport.sync import Outbox, in_thread, open_channel, sleep
from lookalike.client.types import (
    Classification,
    DeleteResult,
    GetResult,
    IngestReport,
    Item,
    Photo,
    Region,
    Search,
    SearchFields,
    SearchResult,
    StoredItem,
    UpsertResult,
)
from lookalike.errors import LookalikeError
from lookalike.matching import MatchCalibration

T = TypeVar("T")


class Client:
    """A connection to Lookalike; safe to share between threads.

    Every method raises a class of :mod:`lookalike.errors` when the call fails;
    :func:`lookalike.client.code_of` gives the gRPC status code of such an error.

    Args:
        target: ``host:port`` of the gateway.
        timeout_seconds: Deadline of one call where a method is given none. The longest is 60 seconds; more,
            infinity included, counts as that.

    Raises:
        InvalidInputError: The target is not an address, or the timeout not a number above 0.
    """

    def __init__(self, target: str = DEFAULT_GATEWAY, *, timeout_seconds: float = 10.0) -> None:
        self._target = checks.address(target, "target")
        self._timeout_seconds = checks.timeout(timeout_seconds, "timeout_seconds")
        self._throttle = Throttle()
        self._channel = open_channel(self._target)
        self._stubs: dict[str, Any] = {name: stub(self._channel) for name, stub in calls.STUBS.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; calls that still run are cancelled."""
        self._channel.close()

    def search(self, *, timeout_seconds: float | None = None, **fields: Unpack[SearchFields]) -> SearchResult:
        """Finds the products nearest to a photo, several photos, a vector or a stored item.

        The arguments are those of :class:`lookalike.client.Search`.
        """
        return self._run(calls.search(Search(**fields)), timeout_seconds)

    def multi_search(
        self, searches: Sequence[Search], *, timeout_seconds: float | None = None
    ) -> Sequence[SearchResult | LookalikeError]:
        """Runs 1 to 64 searches at once; a search that fails gives its error as a value in its place."""
        return self._run(calls.multi_search(searches), timeout_seconds)

    def classify(
        self,
        image: Photo,
        *,
        k: int = 5,
        region: Region | tuple[float, float, float, float] | None = None,
        collection: str | None = None,
        timeout_seconds: float | None = None,
    ) -> Classification:
        """Predicts the ``k`` best categories of a photo on each level.

        The items of ``collection`` that are nearest to the photo and have a category vote on it; None: the
        model alone decides, which must have been trained with categories.
        """
        return self._run(calls.classify(image, k, region, collection), timeout_seconds)

    def server_info(self, *, timeout_seconds: float | None = None) -> ServerInfo:
        """Says what the server is: version, limits, model, shards."""
        return self._run(calls.server_info(), timeout_seconds)

    def upsert(
        self,
        items: Iterable[Item],
        *,
        collection: str = "default",
        request_id: str | None = None,
        timeout_seconds: float | None = None,
    ) -> UpsertResult:
        """Adds or replaces 1 to 256 items; use :meth:`ingest` for more."""
        return self._run(calls.upsert(items, collection, request_id), timeout_seconds)

    def delete(
        self,
        item_ids: Iterable[str],
        *,
        collection: str = "default",
        if_versions: Mapping[str, int] | None = None,
        request_id: str | None = None,
        timeout_seconds: float | None = None,
    ) -> DeleteResult:
        """Deletes 1 to 1000 items; ids that do not exist are counted.

        With ``if_versions``, by item id, an item is only deleted at that version; one at another version is
        among the ``failures``.
        """
        return self._run(calls.delete(item_ids, collection, request_id, if_versions), timeout_seconds)

    def get(
        self,
        item_ids: Iterable[str],
        *,
        collection: str = "default",
        include_embeddings: bool = False,
        timeout_seconds: float | None = None,
    ) -> GetResult:
        """Returns 1 to 1000 items by id, and which ids do not exist."""
        return self._run(calls.get(item_ids, collection, include_embeddings), timeout_seconds)

    def list(
        self,
        *,
        collection: str = "default",
        page_size: int = 100,
        include_embeddings: bool = False,
        timeout_seconds: float | None = None,
    ) -> Iterator[StoredItem]:
        """Yields all items in a fixed order, fetching page by page; the timeout is that of one page."""
        token = ""
        while True:
            call = calls.list_page(collection, page_size, token, include_embeddings)
            items, token = self._run(call, timeout_seconds)
            yield from items
            if not token:
                return

    def count(self, *, collection: str = "default", timeout_seconds: float | None = None) -> int:
        """Counts the items of a collection."""
        return self._run(calls.count(collection), timeout_seconds)

    def ingest(
        self,
        items: Iterable[Item],
        *,
        collection: str = "default",
        max_in_flight: int = 4,
        retry_seconds: float = 60.0,
        on_progress: OnProgress | None = None,
    ) -> IngestReport:
        """Loads any number of items over a stream.

        Batches are as large as the server asks for. A broken stream is opened again, to the same collection,
        and what was not acknowledged is sent again under the same request id.

        Args:
            items: Taken lazily; photos are read when their batch is built.
            collection: A collection's name or an alias.
            max_in_flight: Batches sent and not yet answered.
            retry_seconds: How long to keep trying without any progress; more than 9 minutes count as that.
            on_progress: Called after every answer.

        Returns:
            What was written and which items were refused; one bad photo does not end the load.

        Raises:
            FailedPreconditionError: The alias or collection means another one by now than when the load began
                (``GENERATION_MOVED``).
        """
        plan = IngestPlan(
            items,
            collection,
            max_in_flight=max_in_flight,
            retry_seconds=retry_seconds,
            on_progress=on_progress,
        )
        while not plan.done:
            sleep(plan.stream_ended(self._ingest_stream(plan)))
        return plan.report()

    def _ingest_stream(self, plan: IngestPlan) -> LookalikeError | None:
        outbox = Outbox()
        outbox.put(plan.open_stream())
        stream = self._stubs["catalog"].IngestItems(outbox.messages())
        try:
            for response in stream:
                plan.receive(response)
                for message in in_thread(plan.next_messages):
                    outbox.put(message)
                if plan.stream_done:
                    outbox.close()
        except grpc.RpcError as error:
            return stream_error(error, self._target)
        finally:
            outbox.close()
            stream.cancel()
        return None

    def create_collection(
        self,
        name: str,
        *,
        repair: bool = False,
        timeout_seconds: float | None = None,
        **options: Unpack[CollectionOptions],
    ) -> Collection:
        """Creates a collection; see :class:`CollectionOptions`.

        Args:
            name: 1 to 63 characters: a-z, 0-9, "-" and "_".
            repair: If the collection exists, create it again, empty, on shards that have lost its data.
            timeout_seconds: The deadline.
            options: What it is made for.
        """
        return self._run(calls.create_collection(name, options, repair), timeout_seconds)

    def get_collection(self, name: str, *, timeout_seconds: float | None = None) -> Collection:
        """Returns a collection, by its name or an alias, with its number of items."""
        return self._run(calls.get_collection(name), timeout_seconds)

    def list_collections(self, *, timeout_seconds: float | None = None) -> Sequence[Collection]:
        """Returns all collections by name."""
        return self._run(calls.list_collections(), timeout_seconds)

    def delete_collection(self, name: str, *, timeout_seconds: float | None = None) -> None:
        """Deletes a collection with all its items, for good."""
        self._run(calls.delete_collection(name), timeout_seconds)

    def set_match_calibration(
        self,
        collection: str,
        calibration: MatchCalibration | None,
        *,
        model_version: str = "",
        timeout_seconds: float | None = None,
    ) -> Collection:
        """Gives a collection probabilities of its own, at once; ``lookalike calibrate`` fits them.

        Args:
            collection: A name or an alias.
            calibration: What makes them; None: the collection has those of its model again.
            model_version: Of the model whose scores it was fitted to.
            timeout_seconds: The deadline.
        """
        call = calls.set_match_calibration(collection, calibration, model_version)
        return self._run(call, timeout_seconds)

    def set_alias(self, name: str, collection: str, *, timeout_seconds: float | None = None) -> str:
        """Points an alias to a collection; returns where it pointed before, or an empty text."""
        return self._run(calls.set_alias(name, collection), timeout_seconds)

    def delete_alias(self, name: str, *, timeout_seconds: float | None = None) -> None:
        """Deletes an alias; its collection stays."""
        self._run(calls.delete_alias(name), timeout_seconds)

    def list_aliases(self, *, timeout_seconds: float | None = None) -> Sequence[Alias]:
        """Returns all aliases by name."""
        return self._run(calls.list_aliases(), timeout_seconds)

    def _run(self, call: calls.Call[T], timeout_seconds: float | None) -> T:
        method = getattr(self._stubs[call.stub], call.method)
        timeout = self._timeout_seconds
        if timeout_seconds is not None:
            timeout = checks.timeout(timeout_seconds, "timeout_seconds")
        attempts = Attempts(self._target, timeout, self._throttle, repeatable=call.repeatable)
        while True:
            try:
                response = method(
                    call.request, timeout=attempts.remaining_seconds(), metadata=attempts.metadata()
                )
                break
            except grpc.RpcError as failure:
                error = failure
            sleep(attempts.failed(error))
        attempts.answered()
        return call.read(response)
