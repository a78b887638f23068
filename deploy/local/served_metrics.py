"""``metrics.k8s.io`` and ``custom.metrics.k8s.io`` for tests: each pod has the values that a file says.

``python -m deploy.local.served_metrics ADDRESS:PORT VALUES CERTIFICATE KEY API TOKEN``; the file VALUES holds
an object such as ``{"cpu": "900m", "in_flight": "12"}``. ``cpu`` and ``memory`` are resources, the others are
custom metrics.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

RESOURCES = ("cpu", "memory")
_RESOURCE_API = "/apis/metrics.k8s.io/v1beta1"
_CUSTOM_API = "/apis/custom.metrics.k8s.io/v1beta2"
_DIRECT = urllib.request.ProxyHandler({})

Object = dict[str, Any]


class Source(NamedTuple):
    """Where values and pods come from."""

    values: Path
    api: str
    token: str

    def read(self) -> dict[str, str]:
        """Reads the values."""
        return dict(json.loads(self.values.read_text()))

    def pods(self, namespace: str, selector: str) -> list[Object]:
        """Asks the API server for pods."""
        url = f"{self.api}/api/v1/namespaces/{namespace}/pods?labelSelector={urllib.parse.quote(selector)}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.token}"})
        # The API server made its certificate itself.
        context = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
        with urllib.request.build_opener(_DIRECT, context).open(request, timeout=10) as answer:
            return list(json.load(answer)["items"])


def answer(source: Source, path: str, selector: str) -> Object | None:
    """Returns what the APIs answer to a path, or nothing for one that they do not have."""
    if path == _RESOURCE_API:
        return _resources("metrics.k8s.io/v1beta1", {"pods": "PodMetrics"}, ["get", "list"])
    if path == _CUSTOM_API:
        names = {f"pods/{name}": "MetricValueList" for name in source.read() if name not in RESOURCES}
        return _resources("custom.metrics.k8s.io/v1beta2", names, ["get"])
    match path.removeprefix(_RESOURCE_API).removeprefix(_CUSTOM_API).split("/"):
        case ["", "namespaces", namespace, "pods"]:
            return _usage(source, namespace, selector)
        case ["", "namespaces", namespace, "pods", "*", name] if name in source.read():
            return _custom(source, namespace, selector, name)
    return None


def _resources(group_version: str, kinds: dict[str, str], verbs: list[str]) -> Object:
    resources = [
        {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": verbs}
        for name, kind in kinds.items()
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }


def _usage(source: Source, namespace: str, selector: str) -> Object:
    usage = {name: value for name, value in source.read().items() if name in RESOURCES}
    items = [
        {
            "metadata": {"name": pod["metadata"]["name"], "namespace": namespace},
            "timestamp": _now(),
            "window": "15s",
            "containers": [{"name": one["name"], "usage": usage} for one in pod["spec"]["containers"]],
        }
        for pod in (source.pods(namespace, selector) if usage else ())
    ]
    return {"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items}


def _custom(source: Source, namespace: str, selector: str, name: str) -> Object:
    items = [
        {
            "describedObject": {
                "kind": "Pod",
                "apiVersion": "/v1",
                "namespace": namespace,
                "name": pod["metadata"]["name"],
            },
            "metric": {"name": name},
            "timestamp": _now(),
            "value": source.read()[name],
        }
        for pod in source.pods(namespace, selector)
    ]
    return {
        "kind": "MetricValueList",
        "apiVersion": "custom.metrics.k8s.io/v1beta2",
        "metadata": {},
        "items": items,
    }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def make_handler(source: Source) -> type[BaseHTTPRequestHandler]:
    """Returns a handler of requests."""

    class Handler(BaseHTTPRequestHandler):
        """Answers in JSON."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answers one request."""
            url = urllib.parse.urlsplit(self.path)
            selector = urllib.parse.parse_qs(url.query).get("labelSelector", [""])[0]
            found = answer(source, urllib.parse.unquote(url.path).rstrip("/"), selector)
            body = json.dumps(found or {"kind": "Status", "apiVersion": "v1", "status": "Failure"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Logs nothing."""

    return Handler


def main() -> None:
    """Serves until it is ended."""
    address, values, certificate, key, api, token = sys.argv[1:]
    host, _, port = address.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), make_handler(Source(Path(values), api, token)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
