"""A real Jaeger, which keeps spans in memory and is asked for traces."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.process import ROOT, LocalProcess, free_ports

PROGRAM = ROOT / "build" / "tools" / "jaeger"
START_SECONDS = 60.0
WAIT_SECONDS = 60.0
_MAX_TRACES = 10_000
# No proxy of the environment leads to this machine itself.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Span:
    """A span as Jaeger answers it; ids are hexadecimal."""

    service: str
    name: str
    span_id: str
    parent_id: str
    start_us: int
    """Since 1970."""
    duration_us: int
    tags: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """``server``, ``client``, or empty for a stage."""
        kind = str(self.tags.get("span.kind", ""))
        return "" if kind == "internal" else kind

    @property
    def failed(self) -> bool:
        """Whether its status is an error."""
        return self.tags.get("error") is True


class JaegerServer:
    """Jaeger on free ports.

    Args:
        folder: Gets its settings and its output.
    """

    def __init__(self, folder: Path) -> None:
        self._grpc, self._http, self._query, query_grpc = free_ports(4)
        settings = folder / "jaeger.yaml"
        # JSON is YAML, too.
        settings.write_text(json.dumps(self._settings(query_grpc), indent=2))
        self._process = LocalProcess([str(PROGRAM), f"--config={settings}"], folder / "jaeger.log")

    def _settings(self, query_grpc: int) -> dict[str, Any]:
        def at(port: int) -> dict[str, str]:
            return {"endpoint": f"127.0.0.1:{port}"}

        return {
            "receivers": {"otlp": {"protocols": {"grpc": at(self._grpc), "http": at(self._http)}}},
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
            "extensions": {
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": _MAX_TRACES}}}},
                "jaeger_query": {
                    "storage": {"traces": "memory"},
                    "http": at(self._query),
                    "grpc": at(query_grpc),
                },
            },
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
        }

    @property
    def endpoint(self) -> str:
        """What services have as their ``trace_endpoint``."""
        return f"http://127.0.0.1:{self._grpc}"

    @property
    def triton_endpoint(self) -> str:
        """What Triton has, which speaks OTLP over HTTP alone."""
        return f"http://127.0.0.1:{self._http}/v1/traces"

    def start(self) -> None:
        """Starts it and waits until it answers.

        Raises:
            RuntimeError: It ended, or did not answer in time; the message holds its output.
        """
        self._process.start()
        self._process.wait_until(self._answers, START_SECONDS)

    def stop(self) -> None:
        """Ends it."""
        self._process.stop()

    def services(self) -> set[str]:
        """Returns the services of which it has spans."""
        return set(self._ask("services"))

    def trace(self, done: Callable[[list[Span]], bool], *trace_ids: str) -> list[Span]:
        """Returns the spans of one of some traces, once enough are there: services send them seconds later.

        Raises:
            AssertionError: They did not come.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            traces = [self._traces(f"traces/{trace_id}").get(trace_id, []) for trace_id in trace_ids]
            for spans in filter(done, traces):
                return spans
            assert time.monotonic() < deadline, [
                [(one.service, one.name) for one in spans] for spans in traces
            ]
            time.sleep(0.1)

    def traces(self, service: str, **tags: str) -> dict[str, list[Span]]:
        """Returns the traces with a span of a service, which has these tags: id → spans."""
        query = {"service": service, "lookback": "1h", "limit": _MAX_TRACES, "tags": json.dumps(tags)}
        return self._traces(f"traces?{urllib.parse.urlencode(query)}")

    def _traces(self, path: str) -> dict[str, list[Span]]:
        return {trace["traceID"]: _spans(trace) for trace in self._ask(path)}

    def _ask(self, path: str) -> list[Any]:
        try:
            with _DIRECT.open(f"http://127.0.0.1:{self._query}/api/{path}", timeout=10) as answer:
                return list(json.load(answer)["data"] or [])
        except urllib.error.HTTPError as error:
            if error.code == 404:  # a trace of which nothing has come yet
                return []
            raise

    def _answers(self) -> bool:
        try:
            self.services()
        except OSError:
            return False
        return True


def _spans(trace: Mapping[str, Any]) -> list[Span]:
    processes = {name: process["serviceName"] for name, process in trace["processes"].items()}
    return [
        Span(
            service=processes[span["processID"]],
            name=span["operationName"],
            span_id=span["spanID"],
            parent_id=next(
                (other["spanID"] for other in span["references"] if other["refType"] == "CHILD_OF"), ""
            ),
            start_us=span["startTime"],
            duration_us=span["duration"],
            tags={tag["key"]: tag["value"] for tag in span["tags"]},
        )
        for span in trace["spans"]
    ]
