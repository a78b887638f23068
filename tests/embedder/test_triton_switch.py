"""``lookalike model switch``: what is served, loaded and said after each way that it can end."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from embedder.bundle import Bundle, copy_bundle, load_bundle
from lookalike.cli.app import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED, run
from lookalike.files.locks import lock_file
from lookalike.v1 import embedder_pb2, embedder_pb2_grpc

pytestmark = pytest.mark.usefixtures("default_signals")


@dataclass
class Embedder(embedder_pb2_grpc.EmbedderServiceServicer):
    """Serves at once what is in the folder, unless it is stubborn; drains as a test says, an entry a call."""

    folder: Path
    stubborn: str = ""
    draining: list[str] = field(default_factory=list)
    address: str = ""

    def GetModel(self, request: Any, context: Any) -> embedder_pb2.GetModelResponse:  # noqa: N802
        served = self.stubborn or load_bundle(self.folder).model_version
        old = self.draining.pop(0) if self.draining else ""
        return embedder_pb2.GetModelResponse(model_version=served, draining_model_version=old)


@pytest.fixture
def bundles(make_tiny_bundle: Callable[..., Path]) -> tuple[Bundle, Bundle]:
    one, other = (load_bundle(make_tiny_bundle(seed=seed)) for seed in (1, 2))
    return one, other


@pytest.fixture
def embedder(bundles: tuple[Bundle, Bundle], tmp_path: Path) -> Iterator[Embedder]:
    copy_bundle(bundles[0], tmp_path / "served")
    servicer = Embedder(tmp_path / "served")
    server = grpc.server(ThreadPoolExecutor(2))
    embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer
    server.stop(None).wait()


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for Triton's control: what was done there, in order."""
    done: list[str] = []

    async def load(*arguments: Any) -> tuple[int, float]:
        done.append("load")
        return 2, 0.0

    async def drop(folder: Path, model: str, model_version: str, url: str) -> list[int]:
        done.append(f"drop {model_version}")
        return [1]

    monkeypatch.setattr("embedder.triton.control.load", load)
    monkeypatch.setattr("embedder.triton.control.drop", drop)
    return done


def switch(embedder: Embedder, new: Bundle, *flags: str) -> int:
    named = [f"--to={new.path}", f"--served={embedder.folder}", f"--embedder={embedder.address}"]
    return run(["model", "switch", *named, "--triton=repository", *flags])


def test_the_old_version_is_unloaded_once_no_call_is_under_way_with_it(
    bundles: tuple[Bundle, Bundle], embedder: Embedder, triton: list[str]
) -> None:
    old, new = bundles
    embedder.draining = ["", "", old.model_version, old.model_version, old.model_version]
    assert switch(embedder, new) == 0
    assert embedder.draining == []
    assert triton == ["load", f"drop {old.model_version}"]
    assert load_bundle(embedder.folder).model_version == new.model_version


def test_a_switch_to_the_bundle_that_is_served_unloads_nothing(
    bundles: tuple[Bundle, Bundle], embedder: Embedder, triton: list[str]
) -> None:
    assert switch(embedder, bundles[0]) == 0
    assert triton == ["load"]


@pytest.mark.parametrize(
    ("how", "code"),
    [("time is up", EXIT_FAILED), ("SIGINT", EXIT_INTERRUPTED), ("SIGTERM", EXIT_INTERRUPTED)],
)
def test_a_bundle_that_not_every_embedder_takes_is_taken_back(
    bundles: tuple[Bundle, Bundle],
    embedder: Embedder,
    triton: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: str,
    code: int,
) -> None:
    old, new = bundles
    embedder.stubborn = old.model_version
    if how != "time is up":
        number = signal.Signals[how]
        monkeypatch.setattr("lookalike.cli.model.time.sleep", lambda seconds: signal.raise_signal(number))
    assert switch(embedder, new, "--timeout=1") == code
    assert load_bundle(embedder.folder).model_version == old.model_version
    assert triton == ["load"]
    printed = capsys.readouterr().err
    assert f"The old bundle {old.model_version} is back" in printed
    assert "Triton has both; `lookalike model retire" in printed
    assert (f"still serves {old.model_version}, not {new.model_version}" in printed) is (how == "time is up")


def test_an_interruption_while_calls_end_leaves_the_new_bundle_and_both_versions(
    bundles: tuple[Bundle, Bundle],
    embedder: Embedder,
    triton: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, new = bundles
    embedder.draining = ["", "", old.model_version]
    monkeypatch.setattr("lookalike.cli.model.time.sleep", interrupt)
    assert switch(embedder, new) == EXIT_INTERRUPTED
    assert load_bundle(embedder.folder).model_version == new.model_version
    assert triton == ["load"]
    printed = capsys.readouterr().err
    assert "The new bundle stays" in printed
    assert "--keep 2" in printed


def test_a_second_switch_of_the_same_folder_is_refused(
    bundles: tuple[Bundle, Bundle], embedder: Embedder, triton: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = bundles
    other_name = embedder.folder.parent / "alias" / ".." / "served"
    other_name.parent.parent.mkdir()
    lock = lock_file(embedder.folder.parent / ".served.switch-lock")
    for folder in (embedder.folder, other_name):
        embedder.folder = folder
        assert switch(embedder, new) == EXIT_BAD_INPUT
        assert f"another switch of {folder} is under way" in capsys.readouterr().err
    assert triton == []
    assert load_bundle(embedder.folder).model_version == old.model_version
    os.close(lock)
    assert switch(embedder, new) == 0


def test_what_another_put_into_the_folder_meanwhile_stays(
    bundles: tuple[Bundle, Bundle],
    embedder: Embedder,
    triton: list[str],
    monkeypatch: pytest.MonkeyPatch,
    make_tiny_bundle: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    third = load_bundle(make_tiny_bundle(seed=3))
    embedder.stubborn = bundles[0].model_version
    monkeypatch.setattr(
        "lookalike.cli.model.time.sleep", lambda seconds: copy_bundle(third, embedder.folder) and None
    )
    assert switch(embedder, bundles[1], "--timeout=1") == EXIT_FAILED
    assert load_bundle(embedder.folder).model_version == third.model_version
    printed = capsys.readouterr().err
    assert f"holds {third.model_version} by now, which stays" in printed
    assert "Triton has both" in printed


def test_a_folder_that_cannot_be_replaced_is_refused_before_triton_is_touched(
    bundles: tuple[Bundle, Bundle], embedder: Embedder, triton: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (embedder.folder / "notes.txt").touch()
    assert switch(embedder, bundles[1]) == EXIT_BAD_INPUT
    assert "is not a model bundle" in capsys.readouterr().err
    assert triton == []


def test_a_folder_that_an_embedder_does_not_follow_is_refused_before_anything_changes(
    bundles: tuple[Bundle, Bundle],
    embedder: Embedder,
    triton: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("lookalike.cli.model._FOLLOW_SECONDS", 0.0)
    embedder.stubborn = "0123456789abcdef"
    assert switch(embedder, bundles[1]) == EXIT_FAILED
    printed = capsys.readouterr().err
    assert f"serves 0123456789abcdef, but {embedder.folder} holds {bundles[0].model_version}: name" in printed
    assert "nothing was changed" in printed
    assert triton == []
    assert load_bundle(embedder.folder).model_version == bundles[0].model_version


def test_an_embedder_that_does_not_answer_is_reported_before_anything_changes(
    bundles: tuple[Bundle, Bundle],
    embedder: Embedder,
    triton: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("lookalike.cli.model._FOLLOW_SECONDS", 0.0)
    assert switch(embedder, bundles[1], "--embedder=127.0.0.1:1") == EXIT_FAILED
    printed = capsys.readouterr().err
    assert "the embedder at 127.0.0.1:1 answers UNAVAILABLE; nothing was changed" in printed
    assert triton == []


def test_an_old_bundle_is_kept_where_putting_it_back_is_interrupted(
    bundles: tuple[Bundle, Bundle],
    embedder: Embedder,
    triton: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def impatient(folder: Path) -> Bundle:
        monkeypatch.undo()
        raise KeyboardInterrupt

    def wait(seconds: float) -> None:
        monkeypatch.setattr("embedder.bundle.load_bundle", impatient)
        raise KeyboardInterrupt

    embedder.stubborn = bundles[0].model_version
    monkeypatch.setattr("lookalike.cli.model.time.sleep", wait)
    assert switch(embedder, bundles[1]) == EXIT_INTERRUPTED
    kept = re.search(r"could not be put back into .*; it is in (\S+)\.\n", capsys.readouterr().err)
    assert kept is not None
    assert load_bundle(Path(kept[1])).model_version == bundles[0].model_version
    shutil.rmtree(kept[1])


@pytest.mark.parametrize("option", ["--triton-url", "--embedder"])
def test_urls_are_no_addresses(
    bundles: tuple[Bundle, Bundle],
    embedder: Embedder,
    triton: list[str],
    capsys: pytest.CaptureFixture[str],
    option: str,
) -> None:
    assert switch(embedder, bundles[1], f"{option}=http://127.0.0.1:8001") == EXIT_BAD_INPUT
    assert "'http://127.0.0.1:8001' must be host:port" in capsys.readouterr().err
    assert triton == []


@pytest.fixture
def full_disk(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the disk of the served folder full, and no other."""

    def fill() -> None:
        def refuse(source: Path, target: Path) -> None:
            if embedder.folder.parent in target.parents and "lookalike-" not in str(target):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source), None, str(target))
            target.write_bytes(source.read_bytes())

        monkeypatch.setattr("embedder.bundle.shutil.copyfile", refuse)

    return fill


def test_a_bundle_that_does_not_fit_on_the_disk_is_reported_in_one_line(
    bundles: tuple[Bundle, Bundle],
    embedder: Embedder,
    triton: list[str],
    full_disk: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    full_disk()
    assert switch(embedder, bundles[1]) == EXIT_FAILED
    printed = capsys.readouterr().err
    assert "Triton has both; `lookalike model retire" in printed
    assert f"{embedder.folder} holds the old bundle {bundles[0].model_version} as before" in printed
    assert f"error: the disk is full: cannot write {embedder.folder};" in printed


def test_an_old_bundle_that_cannot_be_put_back_is_kept_and_triton_named(
    bundles: tuple[Bundle, Bundle],
    embedder: Embedder,
    triton: list[str],
    full_disk: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, new = bundles
    embedder.stubborn = old.model_version
    (tmp_path / "lookalike-scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "lookalike-scratch"))
    monkeypatch.setattr("lookalike.cli.model.time.sleep", lambda seconds: full_disk())
    assert switch(embedder, new, "--timeout=1") == EXIT_FAILED
    assert load_bundle(embedder.folder).model_version == new.model_version
    printed = capsys.readouterr().err
    assert "Triton has both; `lookalike model retire" in printed
    kept = re.search(r"could not be put back into .*; it is in (\S+)\.\n", printed)
    assert kept is not None
    assert load_bundle(Path(kept[1])).model_version == old.model_version


def interrupt(seconds: float) -> None:
    raise KeyboardInterrupt
