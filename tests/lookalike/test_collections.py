from __future__ import annotations

from itertools import product

import pytest

from lookalike.collections import DEFAULT_RERANK, Rerank, Spec, check_spec, rerank_of
from lookalike.errors import InvalidInputError, Reason
from lookalike.v1 import collection_pb2

COMPLETE = {"model_version": "m", "dimension": 4, "bits": 64, "partition_count": 8, "rerank": 1}


def _message(**fields: object) -> collection_pb2.CollectionSpec:
    return collection_pb2.CollectionSpec(**fields)


@pytest.mark.parametrize("rerank", Rerank)
def test_a_spec_comes_back_from_its_message(rerank: Rerank) -> None:
    spec = Spec("m", 4, 64, 8, rerank)
    message = spec.to_message()
    assert Spec.from_message(message, "create") == spec
    assert rerank_of(message) is rerank
    assert collection_pb2.RerankPrecision.Name(message.rerank) == f"RERANK_PRECISION_{rerank.name}"


def test_an_open_precision_is_none_and_the_default_is_half() -> None:
    assert rerank_of(_message()) is None
    assert DEFAULT_RERANK is Rerank.F16
    check_spec(_message(), "spec")


@pytest.mark.parametrize("name", COMPLETE)
def test_a_complete_spec_leaves_nothing_open(name: str) -> None:
    Spec.from_message(_message(**COMPLETE), "create")
    with pytest.raises(InvalidInputError) as caught:
        Spec.from_message(_message(**{k: v for k, v in COMPLETE.items() if k != name}), "create")
    assert (caught.value.reason, caught.value.field) == (Reason.FIELD_MISSING, f"create.{name}")


@pytest.mark.parametrize(("read", "rerank"), [*product((check_spec, Spec.from_message), (4, 99))])
def test_an_unknown_precision_is_refused(read: object, rerank: int) -> None:
    with pytest.raises(InvalidInputError, match="INT8, F16 or F32") as caught:
        read(_message(**COMPLETE | {"rerank": rerank}), "spec")  # type: ignore[operator]
    assert (caught.value.reason, caught.value.field) == (Reason.FIELD_OUT_OF_RANGE, "spec.rerank")
