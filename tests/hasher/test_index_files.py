from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hasher.index import HashIndex, IndexDamagedError

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


def test_a_save_that_was_killed_leaves_nothing_behind_after_the_next(
    index: HashIndex, tmp_path: Path
) -> None:
    """The system kills a process that writes more than it may, here in the middle of a file."""
    code = """
import resource, signal, sys
import numpy as np
from hasher.index import HashIndex, IndexDamagedError

index = HashIndex.build(np.eye(100, dtype=np.float32), np.arange(100, dtype=np.uint64))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
index.save(sys.argv[1])
"""
    index.save(tmp_path)
    killed = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=Path(__file__).parents[2], check=False
    )
    assert killed.returncode == -signal.SIGXFSZ
    assert len(list(tmp_path.iterdir())) == 2
    assert len(HashIndex.open(tmp_path)) == 4
    index.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    pipe, folder, device = (tmp_path / name for name in ("pipe", "folder", "device"))
    for place in (pipe, folder, device):
        place.mkdir()
    os.mkfifo(pipe / FILE)
    (folder / FILE).mkdir()
    (device / FILE).symlink_to("/dev/zero")
    for place in (pipe, folder, device):
        with pytest.raises(IndexDamagedError, match="not a regular file"):
            HashIndex.open(place)


def test_an_empty_path_is_refused_before_anything_is_written(
    index: HashIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (index.save, HashIndex.open):
        with pytest.raises(ValueError, match="folder must not be empty") as caught:
            call("")
        assert type(caught.value) is ValueError
    assert list(tmp_path.iterdir()) == []
    index.save(Path())
    assert len(HashIndex.open(".")) == 4
