"""A real OpenTelemetry collector, which passes on what it receives."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

from deploy.local.process import ROOT, LocalProcess, free_ports

PROGRAM = ROOT / "build" / "tools" / "otelcol"
START_SECONDS = 30.0
_CONFIG = """\
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: 127.0.0.1:{grpc}}}, http: {{endpoint: 127.0.0.1:{http}}}}}}}
processors: {{batch: {{timeout: 100ms}}}}
exporters: {{otlp: {{endpoint: "{target}", tls: {{insecure: true}}}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], processors: [batch], exporters: [otlp]}}}}
"""


def missing() -> str:
    """Returns why there is no collector; empty: there is one."""
    return "" if PROGRAM.exists() else "build/tools lacks otelcol, which `make kube-tools` builds"


class OtelCollector:
    """The collector on a free port.

    Args:
        folder: Gets its settings and its output.
        target: Where it sends spans, ``host:port``.
    """

    def __init__(self, folder: Path, target: str) -> None:
        self._grpc, self._http = free_ports(2)
        settings = folder / "otelcol.yaml"
        settings.write_text(_CONFIG.format(grpc=self._grpc, http=self._http, target=target))
        self._process = LocalProcess([str(PROGRAM), f"--config={settings}"], folder / "otelcol.log")

    @property
    def endpoint(self) -> str:
        """What services have as their ``trace_endpoint``."""
        return f"http://127.0.0.1:{self._grpc}"

    @property
    def triton_endpoint(self) -> str:
        """What Triton has, which speaks OTLP over HTTP alone."""
        return f"http://127.0.0.1:{self._http}/v1/traces"

    def start(self) -> None:
        """Starts it and waits until it takes spans.

        Raises:
            RuntimeError: It ended, or did not listen in time; the message holds its output.
        """
        self._process.start()
        self._process.wait_until(self._listens, START_SECONDS)

    def stop(self) -> None:
        """Ends it."""
        self._process.stop()

    def _listens(self) -> bool:
        for port in (self._grpc, self._http):
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    return False
        return True
