from __future__ import annotations

import json
from itertools import product

import pytest

from lookalike.client import CollectionOptions, answers, requests
from lookalike.collections import DEFAULT_RERANK, Rerank, Spec, check_spec, rerank_of
from lookalike.errors import FailedPreconditionError, InvalidInputError, Reason
from lookalike.v1 import collection_pb2

COMPLETE = {"model_version": "m", "dimension": 4, "bits": 64, "partition_count": 8, "rerank": 1}


OTHER = {"model_version": "n", "dimension": 8, "bits": 128, "partition_count": 16, "rerank": 3}
"""No value that is a default, nor that of ``COMPLETE``."""


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


def test_every_option_is_known_here() -> None:
    options = [field.name for field in collection_pb2.CollectionSpec.DESCRIPTOR.fields]
    assert [*OTHER] == [*COMPLETE] == [*CollectionOptions.__annotations__] == options


def test_no_option_is_lost_on_the_way() -> None:
    message = _message(**OTHER)
    spec = Spec.from_message(message, "create")
    assert spec.to_message() == message
    assert Spec.from_json(spec.to_json()) == spec
    assert Spec.completed(message, "n", 8) == spec
    shown = answers.collection(collection_pb2.Collection(name="shop", spec=message))
    assert requests.collection_spec(shown.options) == message


@pytest.mark.parametrize("name", OTHER)
def test_a_request_with_another_option_did_not_make_the_collection(name: str) -> None:
    spec = Spec.from_message(_message(**COMPLETE), "create")
    assert spec.satisfies(_message(**COMPLETE))
    assert not spec.satisfies(_message(**COMPLETE | {name: OTHER[name]}))


def test_an_option_of_a_newer_version_is_refused_by_name() -> None:
    kept = json.loads(Spec("m", 4, 64, 8).to_json()) | {"freshness": 7}
    with pytest.raises(FailedPreconditionError, match="a collection has freshness") as caught:
        Spec.from_json(json.dumps(kept))
    assert caught.value.reason is Reason.CONFIG_INVALID


@pytest.mark.parametrize("kept", ["[]", "7", "null"])
def test_what_is_no_object_is_not_a_collection(kept: str) -> None:
    with pytest.raises(ValueError, match="a collection is kept as a JSON object"):
        Spec.from_json(kept)
