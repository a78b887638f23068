"""A disk in memory that knows which of its content would survive a power cut.

The rules are the strictest that POSIX allows: the bytes of a file are durable after an fsync of the file, its
name after an fsync of the folder. An fsync of a file says nothing about its name, and one of a folder nothing
about the content of its files.
"""

from __future__ import annotations

import errno
import os
import random
import time
from pathlib import Path, PurePosixPath

PAGE = 4096
SECTOR = 512


class File:
    """Content as processes see it, and as it lies on the disk."""

    def __init__(self, data: bytes = b"") -> None:
        self.live = bytearray(data)
        self.durable = bytearray(data)
        self.dirty: set[int] = set()
        self.mtime_ns = time.time_ns()

    def write(self, offset: int, data: bytes) -> None:
        start = min(offset, len(self.live))
        self.live.extend(bytes(offset - start))
        self.live[offset : offset + len(data)] = data
        self._touch(start, offset + len(data))

    def truncate(self, size: int) -> None:
        before = len(self.live)
        if size < before:
            del self.live[size:]
        else:
            self.live.extend(bytes(size - before))
        self._touch(min(size, before), max(size, before))

    def _touch(self, start: int, end: int) -> None:
        self.dirty.update(range(start // PAGE, -(-end // PAGE)))
        self.mtime_ns = time.time_ns()

    def sync(self) -> None:
        del self.durable[len(self.live) :]
        self.durable.extend(bytes(len(self.live) - len(self.durable)))
        for page in self.dirty:
            piece = slice(page * PAGE, min((page + 1) * PAGE, len(self.live)))
            self.durable[piece] = self.live[piece]
        self.dirty.clear()

    def after_cut(self, rng: random.Random | None) -> bytes:
        """Returns what is left: what was synced, and with ``rng`` some of what the disk wrote by itself.

        Such pages come in any order, some only in part; the length is the old one, the new one, or as long as
        the last page that came.
        """
        left = bytearray(self.durable)
        if rng is None:
            return bytes(left)
        size = rng.choice([len(self.durable), len(self.live)])
        for page in sorted(self.dirty):
            fate = rng.random()
            start, end = page * PAGE, min((page + 1) * PAGE, len(self.live))
            if fate < 0.1:
                end = min(end, start + SECTOR * rng.randrange(1, PAGE // SECTOR))
            if fate < 0.5 and start < end:
                left.extend(bytes(max(0, end - len(left))))
                left[start:end] = self.live[start:end]
                size = max(size, end)
        left.extend(bytes(max(0, size - len(left))))
        return bytes(left[:size])


class Folder:
    """Names as processes see them, and as they lie on the disk."""

    def __init__(self) -> None:
        self.live: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}
        self.changes: list[dict[str, Node | None]] = []
        self.mtime_ns = time.time_ns()

    def change(self, names: dict[str, Node | None]) -> None:
        """Sets and removes (None) names in one step."""
        _change(self.live, names)
        self.changes.append(names)
        self.mtime_ns = time.time_ns()

    def sync(self) -> None:
        self.durable = dict(self.live)
        self.changes.clear()

    def after_cut(self, rng: random.Random | None) -> dict[str, Node]:
        """Returns the names that are left: the synced ones, and with ``rng`` some of the later changes.

        File systems with a journal write changes of names in their order.
        """
        left = dict(self.durable)
        for names in self.changes[: rng.randint(0, len(self.changes)) if rng else 0]:
            _change(left, names)
        return left


Node = File | Folder


def _change(names: dict[str, Node], changes: dict[str, Node | None]) -> None:
    for name, node in changes.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class Disk:
    """A tree of files and folders.

    Args:
        content: A folder with what is on it at first, all of it durable.
    """

    def __init__(self, content: Path) -> None:
        self.root = _read(content)

    def find(self, path: str) -> Node:
        node: Node = self.root
        for name in PurePosixPath(path).parts[1:]:
            if not isinstance(node, Folder):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if name not in node.live:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            node = node.live[name]
        return node

    def folder(self, path: str) -> Folder:
        node = self.find(path)
        if not isinstance(node, Folder):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return node

    def file(self, path: str) -> File:
        node = self.find(path)
        if not isinstance(node, File):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        return node

    def add(self, path: str, node: Node) -> None:
        parent, name = _split(path)
        self.folder(parent).change({name: node})

    def remove(self, path: str) -> None:
        node = self.find(path)
        if isinstance(node, Folder) and node.live:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        parent, name = _split(path)
        self.folder(parent).change({name: None})

    def rename(self, old: str, new: str) -> None:
        """Renames within a folder, atomically; what happens between two folders in a cut is not modelled."""
        (old_parent, old_name), (new_parent, new_name) = _split(old), _split(new)
        if old_parent != new_parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        node, parent = self.find(old), self.folder(old_parent)
        replaced = parent.live.get(new_name)
        if isinstance(replaced, Folder) and replaced.live:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        if old_name != new_name:
            parent.change({old_name: None, new_name: node})

    def write_image(self, target: Path, seed: str | None) -> None:
        """Writes what is left after a power cut into a new folder.

        Args:
            target: The folder.
            seed: Of what was not synced and is there anyway; None: nothing.
        """
        _write(self.root, target, None if seed is None else random.Random(seed))


def _split(path: str) -> tuple[str, str]:
    pure = PurePosixPath(path)
    return str(pure.parent), pure.name


def _read(folder: Path) -> Folder:
    node = Folder()
    for entry in folder.iterdir():
        node.live[entry.name] = _read(entry) if entry.is_dir() else File(entry.read_bytes())
    node.sync()
    return node


def _write(folder: Folder, target: Path, rng: random.Random | None) -> None:
    target.mkdir()
    for name, node in sorted(folder.after_cut(rng).items()):
        if isinstance(node, Folder):
            _write(node, target / name, rng)
        else:
            (target / name).write_bytes(node.after_cut(rng))
