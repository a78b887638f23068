from google.rpc import status_pb2 as _status_pb2
from lookalike.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CategoryGateMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CATEGORY_GATE_MODE_UNSPECIFIED: _ClassVar[CategoryGateMode]
    CATEGORY_GATE_MODE_BOOST: _ClassVar[CategoryGateMode]
    CATEGORY_GATE_MODE_NARROW: _ClassVar[CategoryGateMode]
CATEGORY_GATE_MODE_UNSPECIFIED: CategoryGateMode
CATEGORY_GATE_MODE_BOOST: CategoryGateMode
CATEGORY_GATE_MODE_NARROW: CategoryGateMode

class Query(_message.Message):
    __slots__ = ("image", "images", "embedding", "item_id")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.Image
    images: _types_pb2.ImageSet
    embedding: _types_pb2.Embedding
    item_id: str
    def __init__(self, image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ..., images: _Optional[_Union[_types_pb2.ImageSet, _Mapping]] = ..., embedding: _Optional[_Union[_types_pb2.Embedding, _Mapping]] = ..., item_id: _Optional[str] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("collection", "query", "k", "min_score", "filter", "group_by_product", "exact", "probes", "effort", "category_gate", "min_coverage", "min_log_position", "category_gate_mode", "category_gate_mass", "category_vote", "min_match_probability")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    EFFORT_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_GATE_FIELD_NUMBER: _ClassVar[int]
    MIN_COVERAGE_FIELD_NUMBER: _ClassVar[int]
    MIN_LOG_POSITION_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_GATE_MODE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_GATE_MASS_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_VOTE_FIELD_NUMBER: _ClassVar[int]
    MIN_MATCH_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    collection: str
    query: Query
    k: int
    min_score: float
    filter: _types_pb2.Filter
    group_by_product: bool
    exact: bool
    probes: int
    effort: float
    category_gate: _types_pb2.CategoryLevel
    min_coverage: float
    min_log_position: str
    category_gate_mode: CategoryGateMode
    category_gate_mass: float
    category_vote: bool
    min_match_probability: float
    def __init__(self, collection: _Optional[str] = ..., query: _Optional[_Union[Query, _Mapping]] = ..., k: _Optional[int] = ..., min_score: _Optional[float] = ..., filter: _Optional[_Union[_types_pb2.Filter, _Mapping]] = ..., group_by_product: _Optional[bool] = ..., exact: _Optional[bool] = ..., probes: _Optional[int] = ..., effort: _Optional[float] = ..., category_gate: _Optional[_Union[_types_pb2.CategoryLevel, str]] = ..., min_coverage: _Optional[float] = ..., min_log_position: _Optional[str] = ..., category_gate_mode: _Optional[_Union[CategoryGateMode, str]] = ..., category_gate_mass: _Optional[float] = ..., category_vote: _Optional[bool] = ..., min_match_probability: _Optional[float] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("hits", "predicted_categories", "coverage", "timing", "model_version", "predicted_category", "gated_categories", "match_calibration_version")
    HITS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    GATED_CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    MATCH_CALIBRATION_VERSION_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[Hit]
    predicted_categories: _containers.RepeatedCompositeFieldContainer[_types_pb2.CategoryPrediction]
    coverage: _types_pb2.Coverage
    timing: _types_pb2.Timing
    model_version: str
    predicted_category: _types_pb2.CategoryPath
    gated_categories: _containers.RepeatedCompositeFieldContainer[_types_pb2.CategoryPrediction]
    match_calibration_version: str
    def __init__(self, hits: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ..., predicted_categories: _Optional[_Iterable[_Union[_types_pb2.CategoryPrediction, _Mapping]]] = ..., coverage: _Optional[_Union[_types_pb2.Coverage, _Mapping]] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ..., model_version: _Optional[str] = ..., predicted_category: _Optional[_Union[_types_pb2.CategoryPath, _Mapping]] = ..., gated_categories: _Optional[_Iterable[_Union[_types_pb2.CategoryPrediction, _Mapping]]] = ..., match_calibration_version: _Optional[str] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("product_id", "item_id", "score", "match_probability", "category", "attributes", "title", "image_uri")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    MATCH_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URI_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    item_id: str
    score: float
    match_probability: float
    category: _types_pb2.CategoryPath
    attributes: _containers.ScalarMap[str, str]
    title: str
    image_uri: str
    def __init__(self, product_id: _Optional[str] = ..., item_id: _Optional[str] = ..., score: _Optional[float] = ..., match_probability: _Optional[float] = ..., category: _Optional[_Union[_types_pb2.CategoryPath, _Mapping]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., title: _Optional[str] = ..., image_uri: _Optional[str] = ...) -> None: ...

class MultiSearchRequest(_message.Message):
    __slots__ = ("searches",)
    SEARCHES_FIELD_NUMBER: _ClassVar[int]
    searches: _containers.RepeatedCompositeFieldContainer[SearchRequest]
    def __init__(self, searches: _Optional[_Iterable[_Union[SearchRequest, _Mapping]]] = ...) -> None: ...

class MultiSearchResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SearchResult]
    def __init__(self, results: _Optional[_Iterable[_Union[SearchResult, _Mapping]]] = ...) -> None: ...

class SearchResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: SearchResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[SearchResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class ClassifyRequest(_message.Message):
    __slots__ = ("image", "k", "collection")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.Image
    k: int
    collection: str
    def __init__(self, image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ..., k: _Optional[int] = ..., collection: _Optional[str] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("predictions", "model_version", "predicted_category")
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    predictions: _containers.RepeatedCompositeFieldContainer[_types_pb2.CategoryPrediction]
    model_version: str
    predicted_category: _types_pb2.CategoryPath
    def __init__(self, predictions: _Optional[_Iterable[_Union[_types_pb2.CategoryPrediction, _Mapping]]] = ..., model_version: _Optional[str] = ..., predicted_category: _Optional[_Union[_types_pb2.CategoryPath, _Mapping]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "limits", "model_version", "embedding_dimension", "shards_total", "match_calibration_version")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    SHARDS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    MATCH_CALIBRATION_VERSION_FIELD_NUMBER: _ClassVar[int]
    version: str
    limits: Limits
    model_version: str
    embedding_dimension: int
    shards_total: int
    match_calibration_version: str
    def __init__(self, version: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., model_version: _Optional[str] = ..., embedding_dimension: _Optional[int] = ..., shards_total: _Optional[int] = ..., match_calibration_version: _Optional[str] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_message_bytes", "max_image_bytes", "max_k", "max_upsert_items", "max_multi_search", "max_deadline_seconds", "max_item_ids", "max_page_size", "max_images_per_query", "max_filter_conditions", "max_filter_values", "max_filter_bytes")
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_K_FIELD_NUMBER: _ClassVar[int]
    MAX_UPSERT_ITEMS_FIELD_NUMBER: _ClassVar[int]
    MAX_MULTI_SEARCH_FIELD_NUMBER: _ClassVar[int]
    MAX_DEADLINE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    MAX_PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGES_PER_QUERY_FIELD_NUMBER: _ClassVar[int]
    MAX_FILTER_CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_FILTER_VALUES_FIELD_NUMBER: _ClassVar[int]
    MAX_FILTER_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_message_bytes: int
    max_image_bytes: int
    max_k: int
    max_upsert_items: int
    max_multi_search: int
    max_deadline_seconds: float
    max_item_ids: int
    max_page_size: int
    max_images_per_query: int
    max_filter_conditions: int
    max_filter_values: int
    max_filter_bytes: int
    def __init__(self, max_message_bytes: _Optional[int] = ..., max_image_bytes: _Optional[int] = ..., max_k: _Optional[int] = ..., max_upsert_items: _Optional[int] = ..., max_multi_search: _Optional[int] = ..., max_deadline_seconds: _Optional[float] = ..., max_item_ids: _Optional[int] = ..., max_page_size: _Optional[int] = ..., max_images_per_query: _Optional[int] = ..., max_filter_conditions: _Optional[int] = ..., max_filter_values: _Optional[int] = ..., max_filter_bytes: _Optional[int] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("search", "item_id")
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    search: SearchRequest
    item_id: str
    def __init__(self, search: _Optional[_Union[SearchRequest, _Mapping]] = ..., item_id: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("rank", "exact_score", "probed", "scan_rank")
    RANK_FIELD_NUMBER: _ClassVar[int]
    EXACT_SCORE_FIELD_NUMBER: _ClassVar[int]
    PROBED_FIELD_NUMBER: _ClassVar[int]
    SCAN_RANK_FIELD_NUMBER: _ClassVar[int]
    rank: int
    exact_score: float
    probed: bool
    scan_rank: int
    def __init__(self, rank: _Optional[int] = ..., exact_score: _Optional[float] = ..., probed: _Optional[bool] = ..., scan_rank: _Optional[int] = ...) -> None: ...
