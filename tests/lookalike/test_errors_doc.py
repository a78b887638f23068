"""The catalogue of error reasons in the documentation says what the code does."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from lookalike import errors
from lookalike.errors import LookalikeError, Reason
from lookalike.wire.status import code_of

CATALOGUE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"


@pytest.fixture(scope="module")
def rows() -> list[list[str]]:
    lines = CATALOGUE.read_text(encoding="utf-8").split("## Reasons", 1)[1].splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert table[0] == ["Reason", "Status code", "When", "What to do"]
    return table[2:]


def test_every_reason_is_in_the_catalogue_once_and_nothing_else(rows: list[list[str]]) -> None:
    assert sorted(row[0].strip("`") for row in rows) == sorted(Reason)


def test_every_row_says_when_and_what_to_do(rows: list[list[str]]) -> None:
    for row in rows:
        assert len(row) == 4, row
        assert row[1] in grpc.StatusCode.__members__
        assert row[2].endswith(".")
        assert row[3].endswith(".")


RAISED = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, LookalikeError) and kind is not errors.RetryableError
]


@pytest.mark.parametrize("error_class", RAISED, ids=lambda kind: kind.__name__)
def test_default_reasons_have_their_classes_code(
    rows: list[list[str]], error_class: type[LookalikeError]
) -> None:
    codes = {row[0].strip("`"): row[1] for row in rows}
    error = error_class("message")
    assert codes[error.reason] == code_of(error).name
