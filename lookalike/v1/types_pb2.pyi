import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CategoryLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CATEGORY_LEVEL_UNSPECIFIED: _ClassVar[CategoryLevel]
    CATEGORY_LEVEL_META: _ClassVar[CategoryLevel]
    CATEGORY_LEVEL_LEVEL2: _ClassVar[CategoryLevel]
    CATEGORY_LEVEL_LEAF: _ClassVar[CategoryLevel]

class Durability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DURABILITY_UNSPECIFIED: _ClassVar[Durability]
    DURABILITY_LOCAL_DISK: _ClassVar[Durability]
    DURABILITY_REPLICATED_LOG: _ClassVar[Durability]
CATEGORY_LEVEL_UNSPECIFIED: CategoryLevel
CATEGORY_LEVEL_META: CategoryLevel
CATEGORY_LEVEL_LEVEL2: CategoryLevel
CATEGORY_LEVEL_LEAF: CategoryLevel
DURABILITY_UNSPECIFIED: Durability
DURABILITY_LOCAL_DISK: Durability
DURABILITY_REPLICATED_LOG: Durability

class Embedding(_message.Message):
    __slots__ = ("values", "model_version")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    model_version: str
    def __init__(self, values: _Optional[_Iterable[float]] = ..., model_version: _Optional[str] = ...) -> None: ...

class Region(_message.Message):
    __slots__ = ("x_min", "y_min", "x_max", "y_max")
    X_MIN_FIELD_NUMBER: _ClassVar[int]
    Y_MIN_FIELD_NUMBER: _ClassVar[int]
    X_MAX_FIELD_NUMBER: _ClassVar[int]
    Y_MAX_FIELD_NUMBER: _ClassVar[int]
    x_min: float
    y_min: float
    x_max: float
    y_max: float
    def __init__(self, x_min: _Optional[float] = ..., y_min: _Optional[float] = ..., x_max: _Optional[float] = ..., y_max: _Optional[float] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("content", "region")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    region: Region
    def __init__(self, content: _Optional[bytes] = ..., region: _Optional[_Union[Region, _Mapping]] = ...) -> None: ...

class ImageSet(_message.Message):
    __slots__ = ("images",)
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[Image]
    def __init__(self, images: _Optional[_Iterable[_Union[Image, _Mapping]]] = ...) -> None: ...

class CategoryPath(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class CategoryPrediction(_message.Message):
    __slots__ = ("category", "level", "probability")
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    category: CategoryPath
    level: CategoryLevel
    probability: float
    def __init__(self, category: _Optional[_Union[CategoryPath, _Mapping]] = ..., level: _Optional[_Union[CategoryLevel, str]] = ..., probability: _Optional[float] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("item_id", "product_id", "title", "category", "attributes", "image_uri")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URI_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    product_id: str
    title: str
    category: CategoryPath
    attributes: _containers.ScalarMap[str, str]
    image_uri: str
    def __init__(self, item_id: _Optional[str] = ..., product_id: _Optional[str] = ..., title: _Optional[str] = ..., category: _Optional[_Union[CategoryPath, _Mapping]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., image_uri: _Optional[str] = ...) -> None: ...

class StoredItem(_message.Message):
    __slots__ = ("item", "version", "update_time", "embedding")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    item: Item
    version: int
    update_time: _timestamp_pb2.Timestamp
    embedding: Embedding
    def __init__(self, item: _Optional[_Union[Item, _Mapping]] = ..., version: _Optional[int] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., embedding: _Optional[_Union[Embedding, _Mapping]] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("in_category", "equals", "range", "in_categories")
    IN_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    EQUALS_FIELD_NUMBER: _ClassVar[int]
    IN_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    IN_CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    in_category: CategoryPath
    equals: AttributeEquals
    range: AttributeRange
    in_categories: CategoryPaths
    def __init__(self, in_category: _Optional[_Union[CategoryPath, _Mapping]] = ..., equals: _Optional[_Union[AttributeEquals, _Mapping]] = ..., range: _Optional[_Union[AttributeRange, _Mapping]] = ..., in_categories: _Optional[_Union[CategoryPaths, _Mapping]] = ..., **kwargs) -> None: ...

class CategoryPaths(_message.Message):
    __slots__ = ("paths",)
    PATHS_FIELD_NUMBER: _ClassVar[int]
    paths: _containers.RepeatedCompositeFieldContainer[CategoryPath]
    def __init__(self, paths: _Optional[_Iterable[_Union[CategoryPath, _Mapping]]] = ...) -> None: ...

class AttributeEquals(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class AttributeIn(_message.Message):
    __slots__ = ("name", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ...) -> None: ...

class AttributeRange(_message.Message):
    __slots__ = ("name", "min", "max")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    name: str
    min: float
    max: float
    def __init__(self, name: _Optional[str] = ..., min: _Optional[float] = ..., max: _Optional[float] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("all", "any", "none")
    ALL_FIELD_NUMBER: _ClassVar[int]
    ANY_FIELD_NUMBER: _ClassVar[int]
    NONE_FIELD_NUMBER: _ClassVar[int]
    all: _containers.RepeatedCompositeFieldContainer[Condition]
    any: _containers.RepeatedCompositeFieldContainer[Condition]
    none: _containers.RepeatedCompositeFieldContainer[Condition]
    def __init__(self, all: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., any: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., none: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ...) -> None: ...

class MatchCalibration(_message.Message):
    __slots__ = ("model_version", "slope", "threshold", "density_weight", "density", "fitted_searches", "absent_share", "version")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SLOPE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    DENSITY_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    DENSITY_FIELD_NUMBER: _ClassVar[int]
    FITTED_SEARCHES_FIELD_NUMBER: _ClassVar[int]
    ABSENT_SHARE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    slope: float
    threshold: float
    density_weight: float
    density: float
    fitted_searches: int
    absent_share: float
    version: str
    def __init__(self, model_version: _Optional[str] = ..., slope: _Optional[float] = ..., threshold: _Optional[float] = ..., density_weight: _Optional[float] = ..., density: _Optional[float] = ..., fitted_searches: _Optional[int] = ..., absent_share: _Optional[float] = ..., version: _Optional[str] = ...) -> None: ...

class Coverage(_message.Message):
    __slots__ = ("shards_total", "shards_answered", "codes_scanned", "codes_total", "degraded_reason")
    SHARDS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    SHARDS_ANSWERED_FIELD_NUMBER: _ClassVar[int]
    CODES_SCANNED_FIELD_NUMBER: _ClassVar[int]
    CODES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_REASON_FIELD_NUMBER: _ClassVar[int]
    shards_total: int
    shards_answered: int
    codes_scanned: int
    codes_total: int
    degraded_reason: str
    def __init__(self, shards_total: _Optional[int] = ..., shards_answered: _Optional[int] = ..., codes_scanned: _Optional[int] = ..., codes_total: _Optional[int] = ..., degraded_reason: _Optional[str] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("total_seconds", "admit_seconds", "embed_seconds", "preprocess_seconds", "queue_seconds", "encode_seconds", "fanout_seconds", "hash_seconds", "probe_seconds", "scan_seconds", "rerank_seconds", "merge_seconds")
    TOTAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ADMIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    EMBED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PREPROCESS_SECONDS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ENCODE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FANOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    HASH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PROBE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SCAN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RERANK_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MERGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    total_seconds: float
    admit_seconds: float
    embed_seconds: float
    preprocess_seconds: float
    queue_seconds: float
    encode_seconds: float
    fanout_seconds: float
    hash_seconds: float
    probe_seconds: float
    scan_seconds: float
    rerank_seconds: float
    merge_seconds: float
    def __init__(self, total_seconds: _Optional[float] = ..., admit_seconds: _Optional[float] = ..., embed_seconds: _Optional[float] = ..., preprocess_seconds: _Optional[float] = ..., queue_seconds: _Optional[float] = ..., encode_seconds: _Optional[float] = ..., fanout_seconds: _Optional[float] = ..., hash_seconds: _Optional[float] = ..., probe_seconds: _Optional[float] = ..., scan_seconds: _Optional[float] = ..., rerank_seconds: _Optional[float] = ..., merge_seconds: _Optional[float] = ...) -> None: ...

class WriteReceipt(_message.Message):
    __slots__ = ("durability", "log_position")
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    LOG_POSITION_FIELD_NUMBER: _ClassVar[int]
    durability: Durability
    log_position: str
    def __init__(self, durability: _Optional[_Union[Durability, str]] = ..., log_position: _Optional[str] = ...) -> None: ...
