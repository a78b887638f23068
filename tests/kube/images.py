"""What runs on the node: the images of `make images`, a model's, and Triton's, which is for tests alone."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tomllib
from pathlib import Path

from deploy.local.process import ROOT

FOLDER = ROOT / "build" / "images"
SERVICES = ("gateway", "hasher", "embedder")
BUNDLE = ROOT / "build" / "bundles" / "efficientnet-lite0"
TRITON_TAG = "test"
_BUILD = ROOT / "deploy" / "docker" / "build.sh"
_TRITON = Path(os.environ.get("LOOKALIKE_TRITON_ENV", ROOT / "build" / "triton"))
_HERE = Path(__file__).parent


def problem() -> str:
    """Why there is nothing to install, or nothing."""
    for service in SERVICES:
        if not (FOLDER / f"lookalike-{service}.tar").exists():
            return f"build/images lacks lookalike-{service}.tar, which `make images` builds"
    if not BUNDLE.exists():
        return f"{BUNDLE} is missing, which `make setup` exports"
    if not (_TRITON / "installed").exists():
        return "Triton is missing, which `make triton-install` installs"
    # Debian's, with which triton.Dockerfile runs it.
    return "" if (_TRITON / "venv/lib/python3.11").exists() else f"{_TRITON} has another Python than 3.11"


def version() -> str:
    """The tag of the services' images."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def services() -> list[Path]:
    """The archives of the services' images."""
    return [FOLDER / f"lookalike-{service}.tar" for service in SERVICES]


def models() -> Path:
    """The archive of an image with the default model, which is made as the docs say."""
    _run("models", str(BUNDLE))
    return FOLDER / "lookalike-models.tar"


def triton() -> Path:
    """The archive of an image with Triton, built where its parts have changed."""
    archive, key = FOLDER / "tritonserver.tar", FOLDER / "tritonserver.sources"
    parts = [_HERE / "triton.Dockerfile", _HERE / "triton.ignore", _TRITON / "installed"]
    wanted = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()
    if archive.exists() and key.exists() and key.read_text() == wanted:
        return archive
    name = f"localhost/tritonserver:{TRITON_TAG}"
    file, ignored = (f"--{what}={path}" for what, path in zip(("file", "ignorefile"), parts, strict=False))
    how = ("--isolation=chroot", "--pull-never", f"--build-arg=VERSION={version()}", f"--tag={name}")
    _run("buildah", "build", *how, file, ignored, str(_TRITON.resolve()))
    archive.unlink(missing_ok=True)
    _run("buildah", "push", "--quiet", name, f"docker-archive:{archive}:{name}")
    key.write_text(wanted)
    return archive


def sizes() -> dict[str, int]:
    """Unpacked megabytes of each image that was made, by name."""
    return {path.stem: round(path.stat().st_size / 1e6) for path in sorted(FOLDER.glob("*.tar"))}


def _run(*arguments: str) -> None:
    done = subprocess.run([_BUILD, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"build.sh {' '.join(arguments)} failed: {done.stderr[-2000:]}")
