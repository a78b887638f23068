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
    "NativeFanout",
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

_Histogram = tuple[list[int], float]
"""Counts by bucket, not added up, one more than there are bounds; and the sum of the values."""

@type_check_only
class PortTrace(TypedDict):
    method: str
    traceparent: str
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
    refused: list[tuple[bool, str, int]]
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

# Documented by `gateway.native_fanout`: the kind of a failure and its encoded google.rpc.Status.
_Failure = tuple[str, bytes]
# Number, (encoded hits, hits, best score, codes scanned) of each vector, shards that answered, failures, the
# caller's mistake, codes in all, seconds of hash, probe, scan and rerank, of the shards, and of merging.
_Found = tuple[
    int,
    list[tuple[bytes, int, float | None, int]],
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
        threads: int,
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
        needed: dict[int, bytes],
        timeout_seconds: float,
        enough: float,
        headers: Sequence[tuple[str, str]],
        shard_headers: dict[int, list[tuple[str, str]]],
        aside: bool,
    ) -> NativeSearch: ...
    def arrived(self) -> tuple[list[_Found], list[tuple[int, bool]]]: ...

def merge_hits(hits: Sequence[bytes], *, k: int, group_by_product: bool, min_score: float) -> bytes: ...

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
