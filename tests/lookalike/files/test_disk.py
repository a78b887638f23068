from __future__ import annotations

import errno
from pathlib import Path

import pytest

from lookalike.files.disk import FULL, writing

TARGET = Path("target")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_by_what_was_to_be_written(number: int) -> None:
    assert number in FULL
    with pytest.raises(OSError, match="no room") as caught, writing(TARGET):
        raise OSError(number, "no room", "source", None, "scratch")
    assert (caught.value.errno, caught.value.filename, caught.value.filename2) == (number, "target", None)


def test_other_errors_stay_what_they_are() -> None:
    error = PermissionError(errno.EACCES, "not allowed", "source")
    with pytest.raises(PermissionError) as caught, writing(TARGET):
        raise error
    assert caught.value is error
