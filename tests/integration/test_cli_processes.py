"""The commands that start processes: they work, and they leave none behind, however they end."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deploy.local.process import STOP_SECONDS, LocalProcess
from lookalike.catalogue.catalog import Catalog
from tests.lookalike.ipv6 import needs_ipv6

START_SECONDS = 240.0
RunCli = Callable[..., subprocess.CompletedProcess[str]]


class Command(LocalProcess):
    """A running `lookalike` command, and every process that descends from it."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        self.mark = f"LOOKALIKE_TEST_MARK={uuid.uuid4()}"
        name, value = self.mark.split("=")
        command = [sys.executable, "-m", "lookalike.cli", *map(str, arguments)]
        super().__init__(command, folder / "said.txt", {name: value, "COLUMNS": "200"})
        self.start()

    def wait_for(self, text: str) -> str:
        self.wait_until(lambda: text in self.said(), START_SECONDS)
        return self.said()

    def processes(self) -> dict[int, str]:
        """The command lines of all that run, by process id."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ").strip()
            except OSError:
                continue
        return {number: line for number, line in found.items() if line}

    def assert_all_gone(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while left := self.processes():
            assert time.monotonic() < deadline, left
            time.sleep(0.1)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    started: list[Command] = []

    def run(*arguments: str | Path) -> Command:
        started.append(Command(tmp_path, *arguments))
        return started[-1]

    yield run
    for command in started:
        for number in command.processes():
            os.kill(number, signal.SIGKILL)
        command.wait()


def checked_report(out: Path, catalog: Catalog) -> Any:
    """Returns the report of a demo, whose figures, photos and page are as they should be."""
    report = json.loads((out / "report.json").read_text())
    assert report["problems"] == []
    assert report["items"] == len(catalog.index_items())
    assert report["queries"] == len(catalog.query_items())
    assert set(report["accuracy"]) == {"meta", "level2", "leaf"}
    assert 0 < report["backbone_mar@10"] <= 1
    assert report["mar@10"] >= 0.99 * report["exact_mar@10"] > 0
    with Image.open(out / "contact-sheet.png") as sheet:
        assert min(sheet.size) > 1000
    page = (out / "report.html").read_text()
    assert set(re.findall(r'(?:src|href)="([a-z]+:)', page)) == {"data:"}
    return report


def test_demo_from_photos_to_a_report_and_a_search(
    start: Callable[..., Command],
    run_cli: RunCli,
    catalog: Catalog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An evaluation without services is in float32: so must be the services that shall say the same.
    monkeypatch.setenv("LOOKALIKE_EMBEDDER_BACKEND", "onnx")
    out = tmp_path / "demo"
    demo = start("demo", "--catalog", catalog.root / "catalog.csv", "--out", out)
    said = demo.wait_for("lookalike search")
    assert all(f"[{number}/7]" in said for number in range(1, 8))

    report = checked_report(out, catalog)

    # The command that the demo prints can be pasted as it is.
    (line,) = [line for line in said.splitlines() if "lookalike search" in line]
    found = run_cli(*shlex.split(line)[1:], "--json")
    assert found.returncode == 0, found.stderr
    hits = json.loads(found.stdout)["hits"]
    assert len(hits) == 10
    gateway = shlex.split(line)[3]
    figures = tmp_path / "figures.json"
    measured = run_cli(
        "evaluate", "--gateway", gateway, "--collection", "demo",
        "--catalog", catalog.root / "catalog.csv", "--json", figures,
    )  # fmt: skip
    assert measured.returncode == 0, measured.stderr
    again = json.loads(figures.read_text())
    for name in ("queries", "mar@1", "mar@10", "mar@10_capped", "recall@1", "accuracy", "model_version"):
        assert again[name] == report[name]

    # The services and the model by itself say the same, but for the precision of the stored vectors.
    offline = run_cli(
        "evaluate", "--bundle", out / "bundle", "--catalog", catalog.root / "catalog.csv", "--json", figures
    )
    assert offline.returncode == 0, offline.stderr
    alone = json.loads(figures.read_text())
    for name in ("queries", "accuracy", "violation_rate", "lca_height", "mistakes", "model_version"):
        assert alone[name] == again[name]
    for name in ("exact_mar@10", "exact_mar@10_capped", "exact_recall@1"):
        assert alone[name] == pytest.approx(again[name], abs=0.02)

    second = run_cli("demo", "--once", "--out", out)
    assert second.returncode == 2
    assert "another demo is running" in second.stderr

    assert len(demo.processes()) == 5
    assert demo.stop(signal.SIGINT) == 0
    demo.assert_all_gone()
    assert "Traceback" not in demo.said()


def test_ctrl_c_in_the_terminal_ends_a_demo_and_its_workers(
    start: Callable[..., Command], tmp_path: Path
) -> None:
    demo = start("demo", "--once", "--products", "400", "--out", tmp_path / "demo")
    demo.wait_for("[1/7]")
    while len(demo.processes()) < 2:
        time.sleep(0.05)
    os.killpg(demo.popen.pid, signal.SIGINT)
    assert demo.wait() == 130
    demo.assert_all_gone()
    assert "Traceback" not in demo.said()


def test_serve_all_stops_when_a_service_dies(
    start: Callable[..., Command], bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Services reach each other whatever proxy the environment names.
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    services = start("serve", "all", "--bundle", bundle, "--data", tmp_path / "data", "--port", "0")
    services.wait_for("The gateway serves at")
    (hasher,) = [number for number, line in services.processes().items() if "--shard 1 " in line]
    os.kill(hasher, signal.SIGKILL)
    assert services.wait() == 1
    assert "the hasher-1 was ended by signal 9 (SHARD_UNAVAILABLE)" in services.said()
    services.assert_all_gone()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_service_outlives_serve_all(
    start: Callable[..., Command], bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    services = start("serve", "all", "--bundle", bundle, "--data", tmp_path / "data", "--port", "0")
    services.wait_for("The gateway serves at")
    assert len(services.processes()) == 5
    code = services.stop(number)
    assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    services.assert_all_gone()


@needs_ipv6
def test_serve_all_on_ipv6(
    start: Callable[..., Command], run_cli: RunCli, bundle: Path, tmp_path: Path
) -> None:
    services = start(
        "serve", "all", "--bundle", bundle, "--data", tmp_path / "data", "--port", "0", "--host", "::1"
    )
    said = services.wait_for("The gateway serves at")
    (address,) = re.findall(r"serves at (\[::1\]:\d+);", said)
    for gateway in (address, address.replace("[", "").replace("]", "")):
        listed = run_cli("collection", "list", "--gateway", gateway, "--json")
        assert listed.returncode == 0, listed.stderr
    assert services.stop() == 0
    services.assert_all_gone()


def test_serve_all_passes_on_why_a_service_ended(start: Callable[..., Command], tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    services = start(
        "serve", "all", "--bundle", tmp_path / "bundle", "--data", tmp_path / "data", "--port", "0"
    )
    assert services.wait(START_SECONDS) == 2
    last = services.said().splitlines()[-1]
    assert last.startswith("error: the embedder ended: ")
    assert last.endswith("(BUNDLE_INVALID)")
    services.assert_all_gone()
