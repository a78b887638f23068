"""``serve.sh`` as a process on free ports, for the embedder's tests and its benchmark."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SERVE = ROOT / "deploy" / "triton" / "serve.sh"
START_SECONDS = 300.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05
# No proxy of the environment leads to this machine itself.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def is_installed() -> bool:
    """Whether Triton's own environment is there; `make triton-install` makes it."""
    home = Path(os.environ.get("LOOKALIKE_TRITON_ENV", ROOT / "build" / "triton"))
    return (home / "installed").is_file()


class TritonServer:
    """A real tritonserver on a model repository, on ports of its own that it keeps when restarted.

    Args:
        folder: Gets the folder ``repository`` and the server's log.
    """

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "repository"
        self.repository.mkdir(exist_ok=True)
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            self._grpc, self._http, self._metrics = (one.getsockname()[1] for one in sockets)

    @property
    def url(self) -> str:
        """Its gRPC address."""
        return f"127.0.0.1:{self._grpc}"

    def start(self, *models: str) -> None:
        """Start it and wait until it answers, which it does once it has tried to load these models.

        Raises:
            RuntimeError: It ended, or did not answer in time; the message holds its log.
        """
        ports = {"GRPC": self._grpc, "HTTP": self._http, "METRICS": self._metrics}
        loads = [f"--load-model={model}" for model in models]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(_SERVE), str(self.repository), "--exit-timeout-secs=5", *loads],
                env={**os.environ, **{f"TRITON_{name}_PORT": str(port) for name, port in ports.items()}},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_live():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Triton did not start:\n{self._log.read_text(errors='replace')}")
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """End it as the end of its pod would: the processes of its Python models with it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """End it in good order, or as a crash would if it takes too long."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def metrics(self) -> str:
        """Return what it tells Prometheus."""
        with _DIRECT.open(f"http://127.0.0.1:{self._metrics}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def _is_live(self) -> bool:
        try:
            with _DIRECT.open(f"http://127.0.0.1:{self._http}/v2/health/live", timeout=1):
                return True
        except OSError:
            return False
