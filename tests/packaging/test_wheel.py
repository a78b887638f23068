"""The built wheel holds what it should, and works away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    maturin = Path(sys.executable).with_name("maturin")
    subprocess.run(
        [str(maturin), "build", "--release", "--quiet", "--out", str(out), "--interpreter", sys.executable],
        cwd=ROOT,
        check=True,
    )
    (found,) = out.glob("*.whl")
    return found


def test_wheel_holds_four_packages_and_no_fifth(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"embedder", "gateway", "hasher", "lookalike"}


def test_extension_lies_only_in_lookalike(wheel: Path) -> None:
    binaries = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")]
    assert len(binaries) == 1
    assert binaries[0].startswith("lookalike/_native")


def test_generated_code_and_type_markers_are_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    generated = {p.relative_to(ROOT).as_posix() for p in (ROOT / "lookalike/v1").glob("*.py*") if p.is_file()}
    assert generated <= names
    assert {f"{package}/py.typed" for package in ("embedder", "gateway", "hasher", "lookalike")} <= names
    assert "lookalike/_native.pyi" in names


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    """Golden photos, templates and the model of Triton's Python backend are read at run time."""
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {
        path.relative_to(ROOT).as_posix()
        for package in ("embedder", "gateway", "hasher", "lookalike")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".so")
    }
    assert {"embedder/golden_photos/wide.jpg", "embedder/triton/python_model.py"} <= files
    assert files <= names


def test_wheel_works_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        "import hasher.index, lookalike.client, lookalike.cli, gateway.server, numpy as np\n"
        "v = np.eye(4, dtype=np.float32)\n"
        "ix = hasher.index.HashIndex.build(v, np.arange(4, dtype=np.uint64))\n"
        "ids, scores = ix.search(v, k=1)\n"
        "assert ids[:, 0].tolist() == [0, 1, 2, 3], ids\n"
        "print(hasher.index.__file__)\n"
    )
    outcome = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.strip().startswith(str(site))
