"""Mounts a disk of :mod:`tests.faults.disk` with FUSE in a process of its own, and strikes at chosen moments.

Needs ``/dev/fuse``, mfusepy (extra ``dev``) and libfuse (Debian: ``libfuse3-3``).
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.faults.disk import Disk, File, Folder, Node

START_SECONDS = 60.0


def unavailable_reason() -> str:
    """Returns "" where disks can be mounted, else why not."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse cannot be opened: {error.strerror}"
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError) as error:
        return f"no FUSE library ({error}): `make setup fuse-install` installs it"
    return ""


class Operations:
    """What the kernel asks for, on a :class:`Disk`. One thread runs them all.

    An open file that has lost its name can be read, written and synced, but fstat and ftruncate fail: libfuse
    asks for these by name.
    """

    use_ns = True

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._lock = threading.Lock()
        self._handles: dict[int, Node] = {}
        self._new_handle = itertools.count(1)
        self._strike: tuple[int, str, int] | None = None

    def plan(self, strike: tuple[int, str, int] | None) -> None:
        """Sets which process to kill at the n-th ``write`` (after it) or ``sync`` (in place of it)."""
        with self._lock:
            self._strike = strike

    def write_image(self, target: Path, seed: str | None) -> None:
        with self._lock:
            self._disk.write_image(target, seed)

    def _struck(self, kind: str) -> bool:
        if self._strike is None or self._strike[1] != kind:
            return False
        process, _, left = self._strike
        self._strike = (process, kind, left - 1) if left > 1 else None
        if self._strike is None:
            os.kill(process, signal.SIGKILL)
        return self._strike is None

    # Names

    def getattr(self, path: str | None, handle: int | None = None) -> dict[str, int]:
        return _attributes(self._handles[handle] if handle else self._disk.find(path or ""))

    def opendir(self, path: str) -> int:
        return self._open(self._disk.folder(path))

    def readdir(self, path: str | None, handle: int) -> list[tuple[str, dict[str, int], int]]:
        node = self._handles[handle]
        assert isinstance(node, Folder)
        names: dict[str, Node] = {".": node, "..": node, **node.live}
        return [(name, _attributes(child), 0) for name, child in names.items()]

    def releasedir(self, path: str | None, handle: int) -> None:
        del self._handles[handle]

    def mkdir(self, path: str, mode: int) -> None:
        with self._lock:
            self._disk.add(path, Folder())

    def rmdir(self, path: str) -> None:
        with self._lock:
            self._disk.remove(path)

    def unlink(self, path: str) -> None:
        with self._lock:
            self._disk.remove(path)

    def rename(self, old: str, new: str, flags: int = 0) -> None:
        if flags:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        with self._lock:
            self._disk.rename(old, new)

    def fsyncdir(self, path: str | None, data_only: int, handle: int) -> None:
        self._sync(self._handles[handle])

    # Content

    def create(self, path: str, mode: int, flags: int = 0) -> int:
        with self._lock:
            self._disk.add(path, file := File())
        return self._open(file)

    def open(self, path: str, flags: int) -> int:
        return self._open(self._disk.file(path))

    def _open(self, node: Node) -> int:
        handle = next(self._new_handle)
        self._handles[handle] = node
        return handle

    def release(self, path: str | None, handle: int) -> None:
        del self._handles[handle]

    def read(self, path: str | None, size: int, offset: int, handle: int) -> bytes:
        return bytes(self._file(handle).live[offset : offset + size])

    def write(self, path: str | None, data: bytes, offset: int, handle: int) -> int:
        with self._lock:
            self._file(handle).write(offset, data)
            self._struck("write")
        return len(data)

    def truncate(self, path: str, size: int, handle: int | None = None) -> None:
        with self._lock:
            self._disk.file(path).truncate(size)

    def fsync(self, path: str | None, data_only: int, handle: int) -> None:
        self._sync(self._file(handle))

    def _sync(self, node: Node) -> None:
        with self._lock:
            if self._struck("sync"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            node.sync()

    def _file(self, handle: int) -> File:
        node = self._handles[handle]
        assert isinstance(node, File)
        return node

    # Of no meaning here, but callers do not expect to be refused.

    def chmod(self, path: str, mode: int) -> None: ...

    def chown(self, path: str, user: int, group: int) -> None: ...

    def utimens(self, path: str, times: object = None) -> None: ...

    def statfs(self, path: str) -> dict[str, int]:
        return {
            "f_bsize": 4096,
            "f_frsize": 4096,
            "f_blocks": 1 << 20,
            "f_bfree": 1 << 20,
            "f_bavail": 1 << 20,
        }


def _attributes(node: Node) -> dict[str, int]:
    file = isinstance(node, File)
    return {
        "st_mode": stat.S_IFREG | 0o644 if file else stat.S_IFDIR | 0o755,
        "st_nlink": 1,
        "st_ino": id(node),
        "st_uid": os.getuid(),
        "st_gid": os.getgid(),
        "st_size": len(node.live) if file else 0,
        "st_mtime": node.mtime_ns,
        "st_ctime": node.mtime_ns,
    }


class Mount:
    """A mounted disk, for the process that tests.

    Args:
        content: A folder with what is on the disk at first.
        log: Where its process writes errors to.
    """

    def __init__(self, content: Path, log: Path) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="lookalike-faults-"))
        with log.open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(content), str(self.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.path.is_mount():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError(f"the disk could not be mounted: {log.read_text()}")
            time.sleep(0.01)

    def plan_kill(self, process: int, kind: str, count: int) -> None:
        """Kills a process at its ``count``-th ``write`` or ``sync`` from now on."""
        self._ask("plan", [process, kind, count])

    def cancel_kill(self) -> None:
        """Forgets the plan: the number of the process may be given to another one."""
        self._ask("plan", None)

    def cut(self, target: Path, seed: str | None) -> None:
        """Writes what a power cut leaves of the disk into a new folder; see :meth:`Disk.write_image`."""
        self._ask("image", [str(target), seed])

    def _ask(self, name: str, value: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([name, value]) + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "done\n":
            raise RuntimeError("the process of the disk has ended")

    def close(self) -> None:
        """Unmounts; whoever still uses the disk must have ended before."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(START_SECONDS)
        self._process.stdout.close()
        self.path.rmdir()


def _obey(operations: Operations, mount_point: str) -> None:
    """Does what the process that tests asks for; unmounts when it goes away."""
    for line in sys.stdin:
        name, value = json.loads(line)
        if name == "plan":
            operations.plan(value)
        else:
            operations.write_image(Path(value[0]), value[1])
        print("done", flush=True)
    unmount = ["umount", "--lazy"] if os.getuid() == 0 else ["fusermount3", "-u", "-z"]
    subprocess.run([*unmount, mount_point], check=True)


def _serve(content: Path, mount_point: str) -> None:
    import mfusepy

    class Adapter(Operations, mfusepy.Operations):
        """Takes from mfusepy what :class:`Operations` leaves open."""

    operations: Any = Adapter(Disk(content))
    threading.Thread(target=_obey, args=(operations, mount_point), daemon=True).start()
    mfusepy.FUSE(
        operations, mount_point, foreground=True, nothreads=True, fsname="lookalike-faults",
        use_ino=True, kernel_cache=True, hard_remove=True,
    )  # fmt: skip


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2])
