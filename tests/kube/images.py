"""What runs on the node: the images of `make images`, and a model's."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

from deploy.local.process import ROOT

FOLDER = ROOT / "build" / "images"
SERVICES = ("gateway", "hasher", "embedder")
BUNDLE = ROOT / "build" / "bundles" / "efficientnet-lite0"
_BUILD = ROOT / "deploy" / "docker" / "build.sh"


def problem() -> str:
    """Why there is nothing to install, or nothing."""
    for service in SERVICES:
        if not (FOLDER / f"lookalike-{service}.tar").exists():
            return f"build/images lacks lookalike-{service}.tar, which `make images` builds"
    return "" if BUNDLE.exists() else f"{BUNDLE} is missing, which `make setup` exports"


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


def sizes() -> dict[str, int]:
    """Unpacked megabytes of each image that was made, by name."""
    return {path.stem: round(path.stat().st_size / 1e6) for path in sorted(FOLDER.glob("*.tar"))}


def _run(*arguments: str) -> None:
    done = subprocess.run([_BUILD, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"build.sh {' '.join(arguments)} failed: {done.stderr[-2000:]}")
