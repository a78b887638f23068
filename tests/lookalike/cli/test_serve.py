"""``lookalike serve all``: what is wrong shows before anything starts, and what ended says why itself."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from lookalike.cli.app import run
from lookalike.cli.installation import Installation
from lookalike.cli.processes import ServiceProcesses
from lookalike.errors import InvalidInputError, LookalikeError, Reason


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*arguments: object, **options: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(ServiceProcesses, "start", start)


def refusal(capsys: pytest.CaptureFixture[str], tmp_path: Path, *arguments: str) -> str:
    """What the command says; it must have left no data."""
    data = tmp_path / "data"
    assert run(["serve", "all", f"--bundle={tmp_path}", f"--data={data}", *arguments]) == 2
    assert not data.exists()
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_host_for_other_machines_must_be_wanted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = refusal(capsys, tmp_path, "--port=0", "--host=0.0.0.0")
    assert line.startswith(
        "error: the gateway cannot start: cannot listen on 0.0.0.0:0: other machines reach"
    )
    assert line.endswith("(CONFIG_INVALID)")


def test_a_taken_port(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        line = refusal(capsys, tmp_path, f"--port={holder.getsockname()[1]}")
    assert line.endswith("the port is taken (CONFIG_INVALID)")


def test_a_bad_setting_of_any_service(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "lookalike.toml"
    config.write_text("[hasher]\nsearch_threads = -1\n")
    line = refusal(capsys, tmp_path, "--port=0", f"--config={config}")
    assert "the hasher-0 cannot start: bad settings: search_threads: " in line


def test_two_services_on_one_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lookalike.runtime.listen._usable", lambda host, port, addresses: addresses)
    installation = Installation(bundle=tmp_path, data=tmp_path, shards=2, port=7711)
    with pytest.raises(
        InvalidInputError, match="the gateway cannot start: port 7711 is that of the hasher-1"
    ):
        installation.start(ServiceProcesses(tmp_path))


def why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> LookalikeError:
    """Why a service ended that runs a shell script, in which ``$1`` is where it says so."""
    monkeypatch.undo()
    real = subprocess.Popen

    def popen(command: list[str], **options: object) -> object:
        (failure_file,) = [word.partition("=")[2] for word in command if word.startswith("--failure-file=")]
        return real(["sh", "-c", script, "sh", failure_file], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", popen)
    with ServiceProcesses(tmp_path) as services:
        services.start(name.partition("-")[0], [], name=name).process.wait(10)
        with pytest.raises(LookalikeError) as caught:
            services.check()
    return caught.value


def test_the_end_of_a_service_is_explained_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = r"""echo '{"message": "the port is taken", "reason": "CONFIG_INVALID"}' > "$1"; exit 2"""
    error = why(tmp_path, monkeypatch, "gateway", said)
    assert isinstance(error, InvalidInputError)
    assert (error.message, error.reason) == ("the gateway ended: the port is taken", Reason.CONFIG_INVALID)


@pytest.mark.parametrize(
    ("name", "script", "message", "reason"),
    [
        ("hasher-1", "kill -9 $$", "the hasher-1 was ended by signal 9", Reason.SHARD_UNAVAILABLE),
        ("embedder", "exit 3", "the embedder ended with exit code 3", Reason.EMBEDDER_UNAVAILABLE),
    ],
)
def test_the_end_of_a_service_that_said_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str, message: str, reason: Reason
) -> None:
    error = why(tmp_path, monkeypatch, name, script)
    assert (error.message, error.reason) == (message, reason)
