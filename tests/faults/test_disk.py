"""What a power cut leaves, by the rules of POSIX; and the same through the kernel."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.disk import PAGE, SECTOR, Disk, File, Folder
from tests.faults.mount import Mount

SEEDS = [str(number) for number in range(40)]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """One with a durable file of three pages."""
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "old").write_bytes(b"o" * 3 * PAGE)
    return Disk(tmp_path / "content")


def left(disk: Disk, folder: Path, seed: str | None = None) -> dict[str, bytes | None]:
    """Returns the content by path; None: a folder."""
    target = folder / f"left-{seed}"
    disk.write_image(target, seed)
    return {
        str(path.relative_to(target)): None if path.is_dir() else path.read_bytes()
        for path in sorted(target.rglob("*"))
    }


def new_file(disk: Disk, path: str, data: bytes) -> File:
    file = File()
    disk.add(path, file)
    file.write(0, data)
    return file


def test_a_new_file_needs_a_sync_of_itself_and_of_its_folder(disk: Disk, tmp_path: Path) -> None:
    del disk.root.durable["old"]
    first, second, third = (new_file(disk, f"/{name}", b"x") for name in ("first", "second", "third"))
    first.sync()
    assert left(disk, tmp_path, None) == {}
    disk.root.sync()
    del disk.root.durable["old"]
    third.sync()
    assert left(disk, tmp_path / "content", None) == {"first": b"x", "second": b"", "third": b"x"}
    assert second.live == b"x"


def test_writes_and_truncations_are_lost_until_they_are_synced(disk: Disk, tmp_path: Path) -> None:
    file = disk.file("/old")
    file.write(PAGE - 1, b"new")
    file.truncate(PAGE + 1)
    file.write(2 * PAGE, b"after a hole")
    assert left(disk, tmp_path) == {"old": b"o" * 3 * PAGE}
    file.sync()
    (tmp_path / "then").mkdir()
    now = b"o" * (PAGE - 1) + b"ne" + bytes(PAGE - 1) + b"after a hole"
    assert left(disk, tmp_path / "then") == {"old": now}
    assert file.live == now


def test_names_are_lost_until_their_folder_is_synced(disk: Disk, tmp_path: Path) -> None:
    disk.add("/folder", Folder())
    disk.root.sync()
    new_file(disk, "/folder/a", b"a").sync()
    disk.rename("/folder/a", "/folder/b")
    disk.remove("/old")
    assert left(disk, tmp_path) == {"old": b"o" * 3 * PAGE, "folder": None}
    disk.folder("/folder").sync()
    disk.root.sync()
    (tmp_path / "then").mkdir()
    assert left(disk, tmp_path / "then") == {"folder": None, "folder/b": b"a"}


def test_renames_replace_in_one_step(disk: Disk, tmp_path: Path) -> None:
    new_file(disk, "/new", b"new").sync()
    disk.root.sync()
    disk.rename("/new", "/old")
    seen = [left(disk, tmp_path, seed) for seed in SEEDS]
    assert {"new": b"new", "old": b"o" * 3 * PAGE} in seen
    assert {"old": b"new"} in seen
    assert len({str(one) for one in seen}) == 2


def test_a_disk_may_have_written_any_pages_and_parts_of_pages_by_itself(disk: Disk, tmp_path: Path) -> None:
    file = disk.file("/old")
    file.write(0, b"n" * 4 * PAGE)
    seen = [left(disk, tmp_path, seed)["old"] or b"" for seed in SEEDS]
    assert {len(one) for one in seen} >= {3 * PAGE, 4 * PAGE}
    sectors = {bytes(one[at : at + SECTOR]) for one in seen for at in range(0, len(one), SECTOR)}
    assert sectors == {b"o" * SECTOR, b"n" * SECTOR, bytes(SECTOR)}
    torn = [one for one in seen if one[:SECTOR] != one[PAGE - SECTOR : PAGE]]
    assert 0 < len(torn) < len(seen) / 2
    assert {one[:1] + one[PAGE : PAGE + 1] for one in seen} == {b"oo", b"on", b"no", b"nn"}


WRITER = """
import mmap, os, sys
folder = sys.argv[1]
def write(name, *, sync):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(name.encode() * 1000)
        file.flush()
        if sync:
            os.fsync(file.fileno())
write("synced", sync=True)
write("written", sync=False)
names = os.open(folder, os.O_RDONLY)
os.fsync(names)
write("unnamed", sync=True)
with open(os.path.join(folder, "old"), "rb") as old:
    mapped = mmap.mmap(old.fileno(), 0, prot=mmap.PROT_READ)
    os.unlink(old.name)
    assert mapped[-1:] == b"o"
assert sorted(os.listdir(folder)) == ["synced", "unnamed", "written"]
os.fsync(names)
write("never", sync=True)
"""


@pytest.mark.usefixtures("mountable")
def test_processes_see_everything_and_a_cut_leaves_what_was_synced(disk: Disk, tmp_path: Path) -> None:
    mount = Mount(tmp_path / "content", tmp_path / "log")
    try:
        subprocess.run([sys.executable, "-c", WRITER, str(mount.path)], check=True)
        mount.cut(tmp_path / "left", None)
    finally:
        mount.close()
    content = {path.name: path.read_bytes() for path in (tmp_path / "left").iterdir()}
    assert content == {"synced": b"synced" * 1000, "written": b"", "unnamed": b"unnamed" * 1000}
    assert not mount.path.exists()


@pytest.mark.usefixtures("mountable")
def test_a_process_is_killed_at_its_sync_which_then_has_no_effect(disk: Disk, tmp_path: Path) -> None:
    code = "import os, sys; os.pwrite(file := os.open(sys.argv[1], os.O_RDWR), b'n' * 9, 0); os.fsync(file)"
    mount = Mount(tmp_path / "content", tmp_path / "log")
    try:
        waiting = [sys.executable, "-c", f"input(); {code}", str(mount.path / "old")]
        with subprocess.Popen(waiting, stdin=subprocess.PIPE) as process:
            mount.plan_kill(process.pid, "sync", 1)
            process.communicate(b"go\n")
        assert process.returncode == -signal.SIGKILL
        assert (mount.path / "old").read_bytes().startswith(b"n" * 9 + b"o")
        mount.cut(tmp_path / "left", None)
    finally:
        mount.close()
    assert (tmp_path / "left" / "old").read_bytes() == b"o" * 3 * PAGE
