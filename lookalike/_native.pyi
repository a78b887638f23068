# The private native extension. Arrays are C-contiguous; see `hasher.index` and `embedder.preprocess` for the
# documented faces.
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from typing import Protocol, TypedDict, final, type_check_only

import numpy as np
from numpy.typing import NDArray

from hasher.filters import Attributes, Condition, Filter

__all__ = [
    "DamagedError",
    "EnginePanicError",
    "NativeCall",
    "NativeFanout",
    "NativeFront",
    "NativeIndex",
    "NativeSearch",
    "SearchPort",
    "SyncTimes",
    "active_isa",
    "available_isas",
    "dot",
    "encode",
    "force_isa",
    "hamming_distances",
    "hamming_top_k",
    "merge_hits",
    "mutations_of",
    "rotate",
    "rows_of",
    "square_input",
]

_Row = tuple[str, str, bytes, tuple[str, ...], dict[str, str], bytes, int | None]

class _Stats(TypedDict):
    items: int
    dead_rows: int
    dim: int
    bits: int
    family: str
    tables: int
    rerank: str
    rotation: str
    seed: int
    trained_on: int
    buckets_per_table: int
    code_bytes: int
    vector_bytes: int
    bucket_bytes: int
    attribute_bytes: int
    document_bytes: int
    recall_by_effort: tuple[float, ...]
    rebuilding: bool
    failed_rebuilds: int

class DamagedError(ValueError): ...
class EnginePanicError(RuntimeError): ...

@final
class NativeIndex:
    @staticmethod
    def build(
        vectors: NDArray[np.float32],
        ids: NDArray[np.uint64],
        products: NDArray[np.uint64],
        *,
        attributes: Attributes | None,
        documents: Sequence[bytes] | None,
        bits: int,
        family: str,
        tables: int,
        rerank: str,
        rotation: str,
        seed: int,
        threads: int,
    ) -> NativeIndex: ...
    @staticmethod
    def open(folder: str | PathLike[str]) -> NativeIndex: ...
    def save(self, folder: str | PathLike[str]) -> None: ...
    def add(
        self,
        vectors: NDArray[np.float32],
        ids: NDArray[np.uint64],
        products: NDArray[np.uint64],
        *,
        attributes: Attributes | None,
        documents: Sequence[bytes] | None,
    ) -> None: ...
    def remove(self, ids: NDArray[np.uint64]) -> int: ...
    def documents(self, ids: NDArray[np.uint64]) -> list[bytes | None]: ...
    def wait_for_rebuild(self) -> None: ...
    def search(
        self,
        queries: NDArray[np.float32],
        *,
        k: int,
        probes: int | None,
        rerank: int | None,
        effort: float | None,
        filter: Filter | Condition | None,
        exclude: NDArray[np.uint64] | None,
        group: bool,
        ties: bool,
        documents: bool,
        estimate: str,
        exact: bool,
        threads: int,
    ) -> tuple[
        NDArray[np.uint64],
        NDArray[np.uint64],
        NDArray[np.float32],
        list[list[bytes]],
        NDArray[np.uint64],
        NDArray[np.uint64],
        NDArray[np.uint64],
        dict[str, float],
    ]: ...
    def exact_candidates(
        self,
        queries: NDArray[np.float32],
        *,
        k: int,
        filter: Filter | Condition | None,
        exclude: NDArray[np.uint64] | None,
        group: bool,
        threads: int,
    ) -> tuple[list[NDArray[np.uint64]], NDArray[np.uint64], dict[str, float]]: ...
    def sample(self, count: int) -> NDArray[np.float32]: ...
    def stats(self) -> _Stats: ...

_Histogram = tuple[list[int], float, list[tuple[int, int, float, float]]]
"""Counts by bucket, not added up, one more than there are bounds; the sum of the values; and for each bucket
that a traced call fell into: its number, and the last such call's trace id, value and seconds since 1970."""

@type_check_only
class PortTrace(TypedDict):
    method: str
    trace_id: int
    traceparent: str | None
    tracestate: str | None
    request_id: str
    begun_ns: int
    took_seconds: float
    stages_after_seconds: float
    stages: list[tuple[str, float]]
    codes_scanned: int | None
    code: int
    failure: tuple[str, str] | None

class _PortMetrics(TypedDict):
    stages: list[tuple[str, bool, _Histogram]]
    handling: list[tuple[str, str, _Histogram]]
    handled: list[tuple[str, str, int, int]]
    retried: list[tuple[str, int]]
    codes_scanned: int
    buckets_probed: int
    reranked: list[int]
    running: list[int]
    request_bytes: int
    refused: list[tuple[str, str, int]]
    waiting: list[int]
    panics: int
    events_dropped: int

@final
class SearchPort:
    def __new__(
        cls,
        *,
        identity: tuple[str, int, int, int],
        unloaded: str,
        search_threads: int,
        max_waiting: int,
        max_calls: int,
        max_request_bytes: int,
        max_message_bytes: int,
        position_wait_seconds: float,
        keepalive_seconds: float,
        keepalive_timeout_seconds: float,
        max_connection_age_seconds: float,
        stage_bounds: Sequence[float],
        call_bounds: Sequence[float],
        trace_sample_ratio: float | None,
    ) -> SearchPort: ...
    def bind(self, address: str, port: int) -> int: ...
    def publish(
        self,
        generation: str,
        index: NativeIndex,
        *,
        model_version: str,
        positions: dict[int, int],
        vectors: Callable[[Sequence[int]], Iterable[tuple[object, ...]]] | None,
    ) -> None: ...
    def advance(self, generation: str, positions: dict[int, int]) -> None: ...
    def withdraw(self, generation: str) -> None: ...
    def set_identity(self, identity: tuple[str, int, int, int]) -> None: ...
    def set_loaded(self) -> None: ...
    def set_serving(self, service: str, serving: bool) -> None: ...
    def stop(self, grace_seconds: float) -> None: ...
    def events(
        self, patience_seconds: float
    ) -> tuple[list[tuple[str, str, str]], list[PortTrace]] | None: ...
    def metrics(self) -> _PortMetrics: ...

# The kind of a failure and its encoded google.rpc.Status.
_Failure = tuple[str, bytes]
# Slope, threshold, weight of the density and mean density of a calibration; the lowest probability of a hit.
_Matching = tuple[float, float, float, float, float]
# Number, (encoded hits, hits, best score, probability of the best, codes scanned) of each vector, shards that
# answered, failures, the caller's mistake, codes in all, seconds of hash, probe, scan and rerank, of the
# shards, and of merging.
_Found = tuple[
    int,
    list[tuple[bytes, int, float | None, float | None, int]],
    list[int],
    list[tuple[int, _Failure]],
    _Failure | None,
    int,
    tuple[float, float, float, float],
    list[tuple[int, float]],
    float,
]

@final
class NativeSearch:
    @property
    def number(self) -> int: ...
    def cancel(self) -> None: ...

@final
class NativeFanout:
    def __new__(
        cls,
        shards: Sequence[Sequence[str]],
        *,
        installation_id: str,
        layout_epoch: int,
        max_message_bytes: int,
    ) -> NativeFanout: ...
    def fileno(self) -> int: ...
    def search(
        self,
        request: bytes,
        *,
        vectors: int,
        k: int,
        group_by_product: bool,
        min_score: float,
        matching: _Matching | None,
        needed: dict[int, bytes],
        timeout_seconds: float,
        enough: float,
        headers: Sequence[tuple[str, str]],
        shard_headers: dict[int, list[tuple[str, str]]],
        aside: bool,
    ) -> NativeSearch: ...
    def arrived(self) -> tuple[list[_Found], list[tuple[int, bool]]]: ...

@final
class NativeCall:
    """A call in progress; one that is dropped before its end ends as INTERNAL.

    What is done after it was ended or cancelled has no effect.
    """

    @property
    def number(self) -> int:
        """Unique."""

    @property
    def method(self) -> int:
        """Its place among the methods of the front."""

    @property
    def request_id(self) -> str:
        """The caller's if it can be logged, or a new one; the front sends it back."""

    def request(self) -> bytes:
        """The one message; empty where requests are a stream."""

    def headers(self) -> list[tuple[str, str | bytes]]:
        """The caller's metadata, bytes where a name ends in ``-bin``; what is not ASCII is left out."""

    def remaining(self) -> float | None:
        """Seconds to the caller's deadline, negative after it; None: there is none."""

    def waited(self) -> float:
        """Seconds since the whole request had arrived, or the headers of a stream."""

    def peer(self) -> str:
        """Such as ``ipv4:127.0.0.1:1234`` or ``ipv6:[::1]:1234``."""

    def receive(self) -> None:
        """Asks for the next message of a stream of requests, which comes as a note ``message`` or ``end``."""

    def send(self, message: bytes) -> None:
        """Sends a message of a stream of answers, the next one only after the note ``sent``.

        Raises:
            RuntimeError: The one before has not been sent, or there is no such stream.
        """

    def answer(self, message: bytes) -> None:
        """Ends the call with OK and its one message."""

    def end(self, code: int, message: str, trailers: Sequence[tuple[str, str | bytes]]) -> None:
        """Ends the call with a status: 0, the end of a stream, or an error.

        Raises:
            ValueError: A trailer cannot be sent; the call goes on.
            TypeError: A trailer ends in ``-bin`` and is text, or the other way round; the call goes on.
        """

@final
class NativeFront:
    """The transport of a gRPC server: calls come to an event loop, refusals are made without it.

    Args:
        methods: Path such as ``/package.Service/Method``, kind (``call``, ``stream`` or ``probe``), whether
            requests are a stream, whether answers are.
        max_calls: Calls beyond it are refused.
        max_streams: Streams beyond it are refused.
        max_probes: Probes beyond it are refused.
        max_request_bytes: Of the requests of calls in progress and on their way.
        max_message_bytes: Of one request, once it is inflated.
        keepalive_seconds: After so much silence a peer is asked whether it is there.
        keepalive_timeout_seconds: In which it has to answer.
        max_connection_age_seconds: After it, give or take a tenth, clients are to connect again; 0: never.
        max_connection_age_grace_seconds: After so much more the connection is cut; 0: never.
        idle_seconds: The longest silence while the request of a call is on its way.

    Raises:
        ValueError: A kind is none, or a time is negative.
    """

    def __new__(
        cls,
        methods: Sequence[tuple[str, str, bool, bool]],
        *,
        max_calls: int,
        max_streams: int,
        max_probes: int,
        max_request_bytes: int,
        max_message_bytes: int,
        keepalive_seconds: float,
        keepalive_timeout_seconds: float,
        max_connection_age_seconds: float,
        max_connection_age_grace_seconds: float,
        idle_seconds: float,
    ) -> NativeFront: ...
    def bind(self, address: str, port: int) -> int:
        """Binds a port of a numeric address, too; 0 takes a free one. Connections wait until :meth:`start`.

        Raises:
            OSError: It cannot be bound; ``errno`` says why.
            ValueError: The address is not numeric.
        """

    def start(self) -> None:
        """Takes the connections to what is bound."""

    def fileno(self) -> int:
        """A file descriptor that is readable when something has arrived."""

    def arrived(self) -> tuple[list[NativeCall], list[tuple[int, str, bytes]]]:
        """Returns new calls, and notes on calls by their number.

        A note is ``message`` with its content, ``end`` of the requests, ``sent`` once there is room for one
        more message, or ``cancelled`` once nobody waits any more.
        """

    def limit(self, method: str, most: int | None, message: str, retry_after_seconds: float) -> None:
        """Refuses the calls of a method, by its path, while so many of them are in progress; None lifts it.

        Raises:
            KeyError: There is no such method.
            ValueError: The time is negative.
        """

    def limited(self, method: str) -> int:
        """How many calls of a method :meth:`limit` has refused so far.

        Raises:
            KeyError: There is no such method.
        """

    def in_progress(self, kind: str) -> int:
        """Calls of a kind that were handed over and have not ended.

        Raises:
            ValueError: There is no such kind.
        """

    def request_bytes(self) -> int:
        """Size of the requests of calls in progress and on their way, streams and probes apart."""

    def refused(self) -> list[tuple[str, str, int]]:
        """Kind, cause, and how many were so far.

        A cause is ``too_many``, ``too_large``, ``stopping``, ``limited``, or ``unread``.
        """

    def ended(self) -> list[tuple[int, int, int]]:
        """Method, number of the status code, and how many ended so before they were handed over, so far."""

    def retried(self) -> list[tuple[int, int]]:
        """Method, and how many of its calls a client had sent before, so far."""

    def begin_stop(self) -> None:
        """Takes no more connections, and asks clients to go elsewhere.

        Calls go on; those that still come are refused as UNAVAILABLE, but for probes.
        """

    def close(self, linger_seconds: float) -> None:
        """Waits until the connections have ended, so long at most, and cuts those that are left.

        Raises:
            ValueError: The time is negative.
        """

def merge_hits(
    hits: Sequence[bytes],
    *,
    k: int,
    group_by_product: bool,
    min_score: float,
    matching: _Matching | None = None,
) -> bytes: ...

@final
class SyncTimes:
    def __new__(cls) -> SyncTimes: ...
    def watch(self, file: int) -> None: ...
    def take(self) -> list[float]: ...

class _Strip(Protocol):
    def __arrow_c_array__(self) -> tuple[object, object]: ...

def square_input(
    strips: Iterator[_Strip],
    size: tuple[int, int],
    fitted: tuple[int, int],
    at: tuple[int, int],
    *,
    side: int,
    interpolation: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> NDArray[np.float32]: ...
def rotate(vectors: NDArray[np.float32], *, bits: int, seed: int) -> NDArray[np.float32]: ...
def encode(vectors: NDArray[np.float32], *, bits: int, seed: int) -> NDArray[np.uint64]: ...
def hamming_distances(query: NDArray[np.uint64], codes: NDArray[np.uint64]) -> NDArray[np.uint32]: ...
def hamming_top_k(
    queries: NDArray[np.uint64], codes: NDArray[np.uint64], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...
def dot(a: NDArray[np.float32], b: NDArray[np.float32]) -> float: ...
def active_isa() -> str: ...
def available_isas() -> list[str]: ...
def force_isa(name: str | None) -> None: ...
def mutations_of(
    upserts: Sequence[bytes], dimension: int, model_version: str, limits: Sequence[int]
) -> list[bytes | None]: ...
def rows_of(
    mutations: bytes, dimension: int, limits: Sequence[int]
) -> tuple[list[_Row], NDArray[np.float32]] | None: ...
