from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator

import pytest

from lookalike.errors import Reason, UnavailableError
from lookalike.files.open_files import open_files_error, raise_limit


@pytest.fixture
def soft_limit() -> Iterator[int]:
    """A soft limit below the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = min(soft, hard) - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
    yield lower
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_is_raised_to_the_hard_one(soft_limit: int) -> None:
    found = raise_limit()
    assert found.soft == soft_limit < found.hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (found.hard, found.hard)
    assert raise_limit() == (found.hard, found.hard)


def test_the_limit_is_named_where_it_is_the_cause(soft_limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_files_error(OSError(errno.ENOENT, "absent")) is None
    assert open_files_error(RuntimeError("a library's")) is None
    for error in (OSError(errno.EMFILE, "too many"), OSError(errno.ENFILE, "too many")):
        named = open_files_error(error)
        assert isinstance(named, UnavailableError)
        assert named.reason == Reason.OPEN_FILES_LIMIT
        assert f"all {soft_limit} files" in named.message

    def fail(*_: object) -> int:
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(os, "open", fail)
    assert open_files_error(RuntimeError("a library's")) is not None
