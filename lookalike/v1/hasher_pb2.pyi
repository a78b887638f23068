from google.rpc import status_pb2 as _status_pb2
from lookalike.v1 import collection_pb2 as _collection_pb2
from lookalike.v1 import search_pb2 as _search_pb2
from lookalike.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ShardIdentity(_message.Message):
    __slots__ = ("installation_id", "shard", "shard_count", "layout_epoch")
    INSTALLATION_ID_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SHARD_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_EPOCH_FIELD_NUMBER: _ClassVar[int]
    installation_id: str
    shard: int
    shard_count: int
    layout_epoch: int
    def __init__(self, installation_id: _Optional[str] = ..., shard: _Optional[int] = ..., shard_count: _Optional[int] = ..., layout_epoch: _Optional[int] = ...) -> None: ...

class ApplyRequest(_message.Message):
    __slots__ = ("generation", "request_id", "create", "write", "drop", "content_digest", "target")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    WRITE_FIELD_NUMBER: _ClassVar[int]
    DROP_FIELD_NUMBER: _ClassVar[int]
    CONTENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    generation: str
    request_id: str
    create: _collection_pb2.CollectionSpec
    write: Mutations
    drop: DropGeneration
    content_digest: bytes
    target: ShardIdentity
    def __init__(self, generation: _Optional[str] = ..., request_id: _Optional[str] = ..., create: _Optional[_Union[_collection_pb2.CollectionSpec, _Mapping]] = ..., write: _Optional[_Union[Mutations, _Mapping]] = ..., drop: _Optional[_Union[DropGeneration, _Mapping]] = ..., content_digest: _Optional[bytes] = ..., target: _Optional[_Union[ShardIdentity, _Mapping]] = ...) -> None: ...

class DropGeneration(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Mutations(_message.Message):
    __slots__ = ("model_version", "mutations")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MUTATIONS_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    mutations: _containers.RepeatedCompositeFieldContainer[Mutation]
    def __init__(self, model_version: _Optional[str] = ..., mutations: _Optional[_Iterable[_Union[Mutation, _Mapping]]] = ...) -> None: ...

class Mutation(_message.Message):
    __slots__ = ("upsert", "delete_item_id", "if_version")
    UPSERT_FIELD_NUMBER: _ClassVar[int]
    DELETE_ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    upsert: UpsertRow
    delete_item_id: str
    if_version: int
    def __init__(self, upsert: _Optional[_Union[UpsertRow, _Mapping]] = ..., delete_item_id: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class UpsertRow(_message.Message):
    __slots__ = ("item", "vector_f32_le")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    VECTOR_F32_LE_FIELD_NUMBER: _ClassVar[int]
    item: _types_pb2.Item
    vector_f32_le: bytes
    def __init__(self, item: _Optional[_Union[_types_pb2.Item, _Mapping]] = ..., vector_f32_le: _Optional[bytes] = ...) -> None: ...

class ApplyResponse(_message.Message):
    __slots__ = ("position", "results")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    position: int
    results: _containers.RepeatedCompositeFieldContainer[MutationResult]
    def __init__(self, position: _Optional[int] = ..., results: _Optional[_Iterable[_Union[MutationResult, _Mapping]]] = ...) -> None: ...

class MutationResult(_message.Message):
    __slots__ = ("version", "error", "existed")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    version: int
    error: _status_pb2.Status
    existed: bool
    def __init__(self, version: _Optional[int] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., existed: _Optional[bool] = ...) -> None: ...

class AwaitRequest(_message.Message):
    __slots__ = ("target", "generation", "request_id", "lane", "position")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    target: ShardIdentity
    generation: str
    request_id: str
    lane: int
    position: int
    def __init__(self, target: _Optional[_Union[ShardIdentity, _Mapping]] = ..., generation: _Optional[str] = ..., request_id: _Optional[str] = ..., lane: _Optional[int] = ..., position: _Optional[int] = ...) -> None: ...

class AwaitResponse(_message.Message):
    __slots__ = ("partitions",)
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedCompositeFieldContainer[PartitionResults]
    def __init__(self, partitions: _Optional[_Iterable[_Union[PartitionResults, _Mapping]]] = ...) -> None: ...

class PartitionResults(_message.Message):
    __slots__ = ("partition", "results")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    partition: int
    results: _containers.RepeatedCompositeFieldContainer[MutationResult]
    def __init__(self, partition: _Optional[int] = ..., results: _Optional[_Iterable[_Union[MutationResult, _Mapping]]] = ...) -> None: ...

class HasherServiceSearchRequest(_message.Message):
    __slots__ = ("generation", "model_version", "vectors_f32_le", "k", "group_by_product", "exact", "probes", "effort", "filter", "exclude_item_id", "target", "min_positions")
    class MinPositionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    VECTORS_F32_LE_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    EFFORT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    generation: str
    model_version: str
    vectors_f32_le: bytes
    k: int
    group_by_product: bool
    exact: bool
    probes: int
    effort: float
    filter: _types_pb2.Filter
    exclude_item_id: str
    target: ShardIdentity
    min_positions: _containers.ScalarMap[int, int]
    def __init__(self, generation: _Optional[str] = ..., model_version: _Optional[str] = ..., vectors_f32_le: _Optional[bytes] = ..., k: _Optional[int] = ..., group_by_product: _Optional[bool] = ..., exact: _Optional[bool] = ..., probes: _Optional[int] = ..., effort: _Optional[float] = ..., filter: _Optional[_Union[_types_pb2.Filter, _Mapping]] = ..., exclude_item_id: _Optional[str] = ..., target: _Optional[_Union[ShardIdentity, _Mapping]] = ..., min_positions: _Optional[_Mapping[int, int]] = ...) -> None: ...

class HasherServiceSearchResponse(_message.Message):
    __slots__ = ("results", "codes_total", "position", "timing")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    CODES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ShardHits]
    codes_total: int
    position: int
    timing: ShardTiming
    def __init__(self, results: _Optional[_Iterable[_Union[ShardHits, _Mapping]]] = ..., codes_total: _Optional[int] = ..., position: _Optional[int] = ..., timing: _Optional[_Union[ShardTiming, _Mapping]] = ...) -> None: ...

class ShardHits(_message.Message):
    __slots__ = ("hits", "codes_scanned")
    HITS_FIELD_NUMBER: _ClassVar[int]
    CODES_SCANNED_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[_search_pb2.Hit]
    codes_scanned: int
    def __init__(self, hits: _Optional[_Iterable[_Union[_search_pb2.Hit, _Mapping]]] = ..., codes_scanned: _Optional[int] = ...) -> None: ...

class ShardTiming(_message.Message):
    __slots__ = ("hash_seconds", "probe_seconds", "scan_seconds", "rerank_seconds")
    HASH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PROBE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SCAN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RERANK_SECONDS_FIELD_NUMBER: _ClassVar[int]
    hash_seconds: float
    probe_seconds: float
    scan_seconds: float
    rerank_seconds: float
    def __init__(self, hash_seconds: _Optional[float] = ..., probe_seconds: _Optional[float] = ..., scan_seconds: _Optional[float] = ..., rerank_seconds: _Optional[float] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("generation", "item_ids", "include_vectors", "target")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_VECTORS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    generation: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    include_vectors: bool
    target: ShardIdentity
    def __init__(self, generation: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ..., include_vectors: _Optional[bool] = ..., target: _Optional[_Union[ShardIdentity, _Mapping]] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[Row]
    def __init__(self, rows: _Optional[_Iterable[_Union[Row, _Mapping]]] = ...) -> None: ...

class Row(_message.Message):
    __slots__ = ("stored", "vector_f32_le")
    STORED_FIELD_NUMBER: _ClassVar[int]
    VECTOR_F32_LE_FIELD_NUMBER: _ClassVar[int]
    stored: _types_pb2.StoredItem
    vector_f32_le: bytes
    def __init__(self, stored: _Optional[_Union[_types_pb2.StoredItem, _Mapping]] = ..., vector_f32_le: _Optional[bytes] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("generation", "after_item_id", "page_size", "include_vectors", "target")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    AFTER_ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_VECTORS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    generation: str
    after_item_id: str
    page_size: int
    include_vectors: bool
    target: ShardIdentity
    def __init__(self, generation: _Optional[str] = ..., after_item_id: _Optional[str] = ..., page_size: _Optional[int] = ..., include_vectors: _Optional[bool] = ..., target: _Optional[_Union[ShardIdentity, _Mapping]] = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("rows", "more")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[Row]
    more: bool
    def __init__(self, rows: _Optional[_Iterable[_Union[Row, _Mapping]]] = ..., more: _Optional[bool] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ("generation", "target", "with_profile")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    WITH_PROFILE_FIELD_NUMBER: _ClassVar[int]
    generation: str
    target: ShardIdentity
    with_profile: bool
    def __init__(self, generation: _Optional[str] = ..., target: _Optional[_Union[ShardIdentity, _Mapping]] = ..., with_profile: _Optional[bool] = ...) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("shard", "shard_count", "generations", "isa", "installation_id", "layout_epoch")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SHARD_COUNT_FIELD_NUMBER: _ClassVar[int]
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    ISA_FIELD_NUMBER: _ClassVar[int]
    INSTALLATION_ID_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_EPOCH_FIELD_NUMBER: _ClassVar[int]
    shard: int
    shard_count: int
    generations: _containers.RepeatedCompositeFieldContainer[GenerationInfo]
    isa: str
    installation_id: str
    layout_epoch: int
    def __init__(self, shard: _Optional[int] = ..., shard_count: _Optional[int] = ..., generations: _Optional[_Iterable[_Union[GenerationInfo, _Mapping]]] = ..., isa: _Optional[str] = ..., installation_id: _Optional[str] = ..., layout_epoch: _Optional[int] = ...) -> None: ...

class GenerationInfo(_message.Message):
    __slots__ = ("generation", "spec", "item_count", "product_count", "position", "index_bytes", "failure", "log_id", "profile")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    INDEX_BYTES_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    generation: str
    spec: _collection_pb2.CollectionSpec
    item_count: int
    product_count: int
    position: int
    index_bytes: int
    failure: str
    log_id: str
    profile: Profile
    def __init__(self, generation: _Optional[str] = ..., spec: _Optional[_Union[_collection_pb2.CollectionSpec, _Mapping]] = ..., item_count: _Optional[int] = ..., product_count: _Optional[int] = ..., position: _Optional[int] = ..., index_bytes: _Optional[int] = ..., failure: _Optional[str] = ..., log_id: _Optional[str] = ..., profile: _Optional[_Union[Profile, _Mapping]] = ...) -> None: ...

class Profile(_message.Message):
    __slots__ = ("row_count", "mean_f32_le", "meta_rows")
    class MetaRowsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    MEAN_F32_LE_FIELD_NUMBER: _ClassVar[int]
    META_ROWS_FIELD_NUMBER: _ClassVar[int]
    row_count: int
    mean_f32_le: bytes
    meta_rows: _containers.ScalarMap[str, int]
    def __init__(self, row_count: _Optional[int] = ..., mean_f32_le: _Optional[bytes] = ..., meta_rows: _Optional[_Mapping[str, int]] = ...) -> None: ...

class HasherServiceSnapshotRequest(_message.Message):
    __slots__ = ("generation", "destination_uri", "target")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_URI_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    generation: str
    destination_uri: str
    target: ShardIdentity
    def __init__(self, generation: _Optional[str] = ..., destination_uri: _Optional[str] = ..., target: _Optional[_Union[ShardIdentity, _Mapping]] = ...) -> None: ...

class HasherServiceSnapshotResponse(_message.Message):
    __slots__ = ("row_count", "position")
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    row_count: int
    position: int
    def __init__(self, row_count: _Optional[int] = ..., position: _Optional[int] = ...) -> None: ...
