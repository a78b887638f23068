from google.rpc import status_pb2 as _status_pb2
from lookalike.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EmbedRequest(_message.Message):
    __slots__ = ("images", "model_version", "predictions_k", "with_path_probabilities", "with_paths")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_K_FIELD_NUMBER: _ClassVar[int]
    WITH_PATH_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    WITH_PATHS_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[_types_pb2.Image]
    model_version: str
    predictions_k: int
    with_path_probabilities: bool
    with_paths: bool
    def __init__(self, images: _Optional[_Iterable[_Union[_types_pb2.Image, _Mapping]]] = ..., model_version: _Optional[str] = ..., predictions_k: _Optional[int] = ..., with_path_probabilities: _Optional[bool] = ..., with_paths: _Optional[bool] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("results", "model_version", "timing", "paths")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[EmbedResult]
    model_version: str
    timing: EmbedTiming
    paths: _containers.RepeatedCompositeFieldContainer[_types_pb2.CategoryPath]
    def __init__(self, results: _Optional[_Iterable[_Union[EmbedResult, _Mapping]]] = ..., model_version: _Optional[str] = ..., timing: _Optional[_Union[EmbedTiming, _Mapping]] = ..., paths: _Optional[_Iterable[_Union[_types_pb2.CategoryPath, _Mapping]]] = ...) -> None: ...

class EmbedResult(_message.Message):
    __slots__ = ("embedded", "error")
    EMBEDDED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    embedded: EmbeddedImage
    error: _status_pb2.Status
    def __init__(self, embedded: _Optional[_Union[EmbeddedImage, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class EmbeddedImage(_message.Message):
    __slots__ = ("vector_f32_le", "predictions", "predicted_category", "path_probabilities_f32_le")
    VECTOR_F32_LE_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    PATH_PROBABILITIES_F32_LE_FIELD_NUMBER: _ClassVar[int]
    vector_f32_le: bytes
    predictions: _containers.RepeatedCompositeFieldContainer[_types_pb2.CategoryPrediction]
    predicted_category: _types_pb2.CategoryPath
    path_probabilities_f32_le: bytes
    def __init__(self, vector_f32_le: _Optional[bytes] = ..., predictions: _Optional[_Iterable[_Union[_types_pb2.CategoryPrediction, _Mapping]]] = ..., predicted_category: _Optional[_Union[_types_pb2.CategoryPath, _Mapping]] = ..., path_probabilities_f32_le: _Optional[bytes] = ...) -> None: ...

class EmbedTiming(_message.Message):
    __slots__ = ("preprocess_seconds", "queue_seconds", "encode_seconds")
    PREPROCESS_SECONDS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ENCODE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    preprocess_seconds: float
    queue_seconds: float
    encode_seconds: float
    def __init__(self, preprocess_seconds: _Optional[float] = ..., queue_seconds: _Optional[float] = ..., encode_seconds: _Optional[float] = ...) -> None: ...

class EmbedderServiceClassifyRequest(_message.Message):
    __slots__ = ("image", "k")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.Image
    k: int
    def __init__(self, image: _Optional[_Union[_types_pb2.Image, _Mapping]] = ..., k: _Optional[int] = ...) -> None: ...

class EmbedderServiceClassifyResponse(_message.Message):
    __slots__ = ("predictions", "model_version", "predicted_category")
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    predictions: _containers.RepeatedCompositeFieldContainer[_types_pb2.CategoryPrediction]
    model_version: str
    predicted_category: _types_pb2.CategoryPath
    def __init__(self, predictions: _Optional[_Iterable[_Union[_types_pb2.CategoryPrediction, _Mapping]]] = ..., model_version: _Optional[str] = ..., predicted_category: _Optional[_Union[_types_pb2.CategoryPath, _Mapping]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model_version", "embedding_dimension", "preprocessing_hash", "image_size_pixels", "category_counts", "backend", "draining_model_version", "match_calibration")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSING_HASH_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SIZE_PIXELS_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_COUNTS_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    DRAINING_MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MATCH_CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    embedding_dimension: int
    preprocessing_hash: str
    image_size_pixels: int
    category_counts: _containers.RepeatedScalarFieldContainer[int]
    backend: str
    draining_model_version: str
    match_calibration: _types_pb2.MatchCalibration
    def __init__(self, model_version: _Optional[str] = ..., embedding_dimension: _Optional[int] = ..., preprocessing_hash: _Optional[str] = ..., image_size_pixels: _Optional[int] = ..., category_counts: _Optional[_Iterable[int]] = ..., backend: _Optional[str] = ..., draining_model_version: _Optional[str] = ..., match_calibration: _Optional[_Union[_types_pb2.MatchCalibration, _Mapping]] = ...) -> None: ...
