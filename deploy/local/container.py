"""Images that ``make images`` built, run by runc as a node would: read-only root, no rights, another user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.process import ROOT, LocalProcess

USER = 65532
"""User and group of every image."""
_BUILD = ROOT / "deploy" / "docker" / "build.sh"
_IMAGES = ROOT / "build" / "images"
_NAMESPACES = ("pid", "ipc", "uts", "mount")
_MOUNTS = (
    ("/proc", "proc", "proc", ()),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "mode=755", "size=65536k")),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777")),
    ("/sys", "none", "/sys", ("rbind", "nosuid", "noexec", "nodev", "ro")),
    ("/tmp", "tmpfs", "tmpfs", ("nosuid", "nodev", "mode=1777")),
)


def missing(services: Sequence[str]) -> str:
    """Returns what is missing to run the images of these services; empty when nothing is."""
    if os.geteuid():
        return "containers are run as root"
    for tool in ("buildah", "runc"):
        if not shutil.which(tool):
            return f"{tool} is missing (make images-install)"
    unbuilt = [name for name in services if not (_IMAGES / f"lookalike-{name}.tar").is_file()]
    return f"images are not built: {', '.join(unbuilt)} (make images)" if unbuilt else ""


def version() -> str:
    """Returns the tag of the images: the version of the package."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


class Image:
    """A built image with its root file system unpacked; :meth:`close` removes that again."""

    def __init__(self, name: str) -> None:
        self.reference = f"localhost/{name}:{version()}"
        described = json.loads(_buildah("inspect", "--type", "image", self.reference))
        self.config: dict[str, Any] = described["OCIv1"]["config"]
        self._copy = _buildah("from", "--pull-never", self.reference)
        self.root = Path(_buildah("mount", self._copy))

    def close(self) -> None:
        """Removes the unpacked copy."""
        _buildah("rm", self._copy)


@dataclass(frozen=True)
class Mount:
    """A folder of this machine in a container."""

    source: Path
    target: str
    writable: bool = False


class Container(LocalProcess):
    """An image in namespaces of its own, but for the network, which is this machine's.

    Args:
        image: What is run, as its user and with its entry point.
        folder: Gets its log and what runc keeps.
        environment: Added to the image's.
        mounts: Folders that it sees; everything else is read-only, ``/tmp`` apart.
    """

    def __init__(
        self, image: Image, folder: Path, environment: Mapping[str, str], mounts: Sequence[Mount] = ()
    ) -> None:
        folder.mkdir()
        self.id = f"lookalike-{os.getpid()}-{folder.name}"
        self._runc = ["runc", "--root", str(folder / "state")]
        (folder / "config.json").write_text(json.dumps(_runtime_spec(image, environment, mounts)))
        super().__init__([*self._runc, "run", "--bundle", str(folder), self.id], folder / "log")

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command inside, as the container's user."""
        return subprocess.run(
            [*self._runc, "exec", self.id, *command], capture_output=True, text=True, check=False, timeout=60
        )

    def close(self) -> None:
        """Ends it if it still runs, and removes what runc keeps of it."""
        if self.is_running():
            self.stop()
        subprocess.run([*self._runc, "delete", "--force", self.id], capture_output=True, check=False)


def _buildah(*arguments: str) -> str:
    done = subprocess.run([_BUILD, "buildah", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"buildah {' '.join(arguments)} failed: {done.stderr}")
    return done.stdout.strip()


def _runtime_spec(image: Image, environment: Mapping[str, str], mounts: Sequence[Mount]) -> dict[str, Any]:
    user, group = map(int, image.config["User"].split(":"))
    fixed = [
        {"destination": target, "type": kind, "source": source, "options": list(options)}
        for target, kind, source, options in _MOUNTS
    ]
    own = [
        {
            "destination": mount.target,
            "type": "none",
            "source": str(mount.source),
            "options": ["rbind", "rw" if mount.writable else "ro"],
        }
        for mount in mounts
    ]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "args": image.config["Entrypoint"],
            "cwd": image.config.get("WorkingDir") or "/",
            "env": [*image.config["Env"], *(f"{name}={value}" for name, value in environment.items())],
            "user": {"uid": user, "gid": group},
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "root": {"path": str(image.root), "readonly": True},
        "mounts": [*fixed, *own],
        "linux": {"namespaces": [{"type": name} for name in _NAMESPACES]},
    }
