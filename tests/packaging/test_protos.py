"""The committed generated code is what the protos give, and the protos keep the style."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROTOS = sorted((ROOT / "protos").rglob("*.proto"))
INCLUDES = ["-I", str(ROOT / "protos"), "-I", sysconfig.get_path("purelib")]


def _protoc(*arguments: str) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", *INCLUDES, *arguments, *map(str, PROTOS)]
    subprocess.run(command, check=True)


def test_generated_code_is_current(tmp_path: Path) -> None:
    _protoc(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", f"--grpc_python_out={tmp_path}")
    fresh = {p.relative_to(tmp_path).as_posix(): p.read_text() for p in tmp_path.rglob("*_pb2*")}
    committed = {
        p.relative_to(ROOT).as_posix(): p.read_text() for p in (ROOT / "lookalike/v1").glob("*_pb2*.py*")
    }
    assert len(fresh) == 3 * len(PROTOS)
    assert fresh == committed, "run `make proto` and commit the result"


@pytest.fixture
def buf() -> str:
    return str(Path(sys.executable).with_name("buf"))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """Runs buf on the protos that are ours."""
    command = (*command, "--path", "lookalike/v1")
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _lint(buf: str, image: Path) -> subprocess.CompletedProcess[str]:
    return _run(buf, "lint", str(image))


def test_protos_pass_buf_standard_lint(buf: str, tmp_path: Path) -> None:
    image = tmp_path / "image.binpb"
    _protoc("--include_imports", "--include_source_info", f"--descriptor_set_out={image}")
    outcome = _lint(buf, image)
    assert outcome.returncode == 0, outcome.stdout


def test_lint_finds_a_bad_name(buf: str, tmp_path: Path) -> None:
    folder = tmp_path / "lookalike" / "v1"
    folder.mkdir(parents=True)
    bad = folder / "bad.proto"
    bad.write_text('syntax = "proto3";\npackage lookalike.v1;\nmessage bad_name { string Field = 1; }\n')
    image = tmp_path / "image.binpb"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", str(tmp_path), "--include_source_info",
         f"--descriptor_set_out={image}", str(bad)],
        check=True,
    )  # fmt: skip
    assert "PascalCase" in _lint(buf, image).stdout


def _breaking(buf: str, image: Path) -> subprocess.CompletedProcess[str]:
    return _run(buf, "breaking", str(image), "--against", "protos/landed.binpb")


def test_protos_only_grow(buf: str, tmp_path: Path) -> None:
    image = tmp_path / "image.binpb"
    _protoc("--include_imports", f"--descriptor_set_out={image}")
    outcome = _breaking(buf, image)
    assert outcome.returncode == 0, outcome.stdout


def test_a_field_that_goes_is_found(buf: str, tmp_path: Path) -> None:
    folder = tmp_path / "lookalike" / "v1"
    folder.mkdir(parents=True)
    for proto in PROTOS:
        text = proto.read_text().replace("  bool exact = 7;\n", "")
        (folder / proto.name).write_text(text)
    image = tmp_path / "image.binpb"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", str(tmp_path), *INCLUDES[2:], "--include_imports",
         f"--descriptor_set_out={image}", *map(str, sorted(folder.glob("*.proto")))],
        check=True,
    )  # fmt: skip
    outcome = _breaking(buf, image)
    assert outcome.returncode != 0
    assert '"exact"' in outcome.stdout
