from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hasher.index import HashIndex

FILE = "index.lkx"


@pytest.fixture
def index() -> HashIndex:
    return HashIndex.build(np.eye(4, dtype=np.float32), np.arange(4, dtype=np.uint64))


def in_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "index"


def over_a_folder(folder: Path) -> Path:
    (folder / FILE / "full").mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("place", "number", "at"),
    [
        (in_a_file, errno.ENOTDIR, ""),
        (over_a_folder, errno.EISDIR, FILE),
        (lambda folder: folder / ("x" * 300), errno.ENAMETOOLONG, ""),
    ],
)
def test_what_the_system_refuses_to_save_is_said_as_python_says_it(
    place: Callable[[Path], Path], number: int, at: str, index: HashIndex, tmp_path: Path
) -> None:
    folder = place(tmp_path)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        index.save(folder)
    expected = OSError(number, os.strerror(number), str(folder / at))
    assert type(caught.value) is type(expected)
    assert str(caught.value) == str(expected)
    assert (caught.value.errno, caught.value.filename) == (number, expected.filename)


def test_what_the_system_refuses_to_open_is_said_as_python_says_it(tmp_path: Path) -> None:
    folder = in_a_file(tmp_path)
    with pytest.raises(NotADirectoryError) as caught:
        HashIndex.open(folder)
    assert caught.value.errno == errno.ENOTDIR
    assert caught.value.strerror == os.strerror(errno.ENOTDIR)
    assert caught.value.filename == str(folder / FILE)
