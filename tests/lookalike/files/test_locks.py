from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lookalike.errors import FailedPreconditionError, InvalidInputError, Reason
from lookalike.files.locks import FolderLock, lock_file, one_at_a_time

HOLD = """
import sys
from pathlib import Path
from lookalike.files.locks import FolderLock
lock = FolderLock(Path(sys.argv[1]), "probe")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_has_one_owner_even_over_processes_and_kills(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FailedPreconditionError, match="another gateway process") as caught:
            FolderLock(folder, "gateway")
        assert caught.value.reason == Reason.CONFIG_INVALID
        holder.kill()
    lock = FolderLock(folder, "gateway")
    lock.release()
    lock.release()
    FolderLock(folder, "gateway").release()


def test_a_lock_can_be_waited_for(tmp_path: Path) -> None:
    first = lock_file(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        lock_file(tmp_path / "lock")
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(lock_file, tmp_path / "lock", wait=True)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.2)
        os.close(first)
        os.close(second.result(timeout=10))


def test_what_one_does_alone_is_refused_to_another_until_it_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with (
        one_at_a_time(file, "change of shop"),
        pytest.raises(FailedPreconditionError, match="another change of shop is under way"),
        one_at_a_time(file, "change of shop"),
    ):
        pass
    with one_at_a_time(file, "change of shop"):
        pass
    with (
        pytest.raises(InvalidInputError, match=r"cannot write into .*/absent: No such file"),
        one_at_a_time(tmp_path / "absent" / "lock", "change of shop"),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="data folder"):
        FolderLock(tmp_path / "file" / "data", "gateway")


@pytest.mark.parametrize("gone", ["folder", "file", "replaced", "released"])
def test_a_lock_knows_when_it_keeps_no_one_out(tmp_path: Path, gone: str) -> None:
    lock = FolderLock(tmp_path / "data", "gateway")
    assert lock.in_place()
    file = tmp_path / "data" / "LOCK"
    if gone == "released":
        lock.release()
    else:
        file.unlink()
    if gone == "folder":
        file.parent.rmdir()
    elif gone == "replaced":
        file.touch()
    assert not lock.in_place()
    lock.release()
