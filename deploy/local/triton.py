"""``serve.sh`` as a process on free ports, for tests and benchmarks."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from deploy.local.answers import DIRECT, is_answered
from deploy.local.process import ROOT, LocalProcess, free_ports

_SERVE = ROOT / "deploy" / "triton" / "serve.sh"
START_SECONDS = 300.0
STOP_SECONDS = 30.0
_MODEL = "lookalike"
# No proxy of the environment leads to this machine itself.


def is_installed() -> bool:
    """Returns whether Triton's own environment is there; ``make triton-install`` makes it."""
    home = Path(os.environ.get("LOOKALIKE_TRITON_ENV", ROOT / "build" / "triton"))
    return (home / "installed").is_file()


class TritonServer:
    """A real tritonserver on a model repository, on ports of its own that it keeps when restarted.

    Args:
        folder: Gets the folder ``repository`` and the server's log.
        trace_endpoint: Where its spans go by OTLP over HTTP; empty: nowhere.
    """

    def __init__(self, folder: Path, trace_endpoint: str = "") -> None:
        self.repository = folder / "repository"
        self.repository.mkdir(exist_ok=True)
        self._command = [str(_SERVE), str(self.repository), "--exit-timeout-secs=5"]
        self._grpc, self._http, self._metrics = ports = free_ports(3)
        names = ("TRITON_GRPC_PORT", "TRITON_HTTP_PORT", "TRITON_METRICS_PORT")
        environment = dict(zip(names, map(str, ports), strict=True))
        environment["TRITON_TRACE_ENDPOINT"] = trace_endpoint
        self.process = LocalProcess(self._command, folder / "log", environment)

    @property
    def url(self) -> str:
        """Its gRPC address."""
        return f"127.0.0.1:{self._grpc}"

    @property
    def metrics_address(self) -> str:
        """Where it serves its metrics."""
        return f"127.0.0.1:{self._metrics}"

    @property
    def embedder_flags(self) -> tuple[str, ...]:
        """Settings of an embedder that encodes here."""
        return ("--backend=triton", f"--triton-url={self.url}")

    def export(self, bundle: Path) -> str:
        """Puts a bundle's model into the repository, and returns the model's name."""
        export = ["export", f"--bundle={bundle}", f"--triton={self.repository}", "--backend=python"]
        command = [sys.executable, "-m", "lookalike.cli", *export, "--threads=1"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        return _MODEL

    def start(self, *models: str) -> None:
        """Starts it and waits until it answers, which it does once it has tried to load these models.

        Raises:
            RuntimeError: It ended, or did not answer in time; the message holds its log.
        """
        self.process.command = [*self._command, *(f"--load-model={model}" for model in models)]
        self.process.start()
        self.process.wait_until(self._is_live, START_SECONDS)

    def kill(self) -> None:
        """Ends it as the end of its pod would: the processes of its Python models with it."""
        if self.process.is_running():
            self.process.kill()

    def stop(self) -> None:
        """Ends it in good order, or as a crash would if it takes too long."""
        if self.process.is_running():
            self.process.stop(timeout_seconds=STOP_SECONDS)

    def metrics(self) -> str:
        """Returns what it reports to Prometheus."""
        with DIRECT.open(f"http://{self.metrics_address}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def load(self, model: str) -> None:
        """Loads a model of the repository, or loads it again."""
        self._control(model, "load")

    def unload(self, model: str) -> None:
        """Lets it serve a model no more."""
        self._control(model, "unload")

    def _control(self, model: str, action: str) -> None:
        url = f"http://127.0.0.1:{self._http}/v2/repository/models/{model}/{action}"
        with DIRECT.open(urllib.request.Request(url, b"{}"), timeout=60):
            pass

    def _is_live(self) -> bool:
        return is_answered(f"http://127.0.0.1:{self._http}/v2/health/live")
