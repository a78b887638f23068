"""The chart as the API server would get it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.kube import TOOLS
from deploy.local.process import ROOT
from lookalike.addresses import EMBEDDER_PORT, FIRST_HASHER_PORT, GATEWAY_PORT
from lookalike.runtime.settings import ServerSettings
from scripts.chart_schema import SERVICES

CHART = ROOT / "deploy" / "helm" / "lookalike"
EXAMPLES = CHART / "examples"
RELEASE = "shop"

Object = dict[str, Any]

TRITON = ("embedder.backend=triton", "triton.image.repository=tritonserver", "triton.image.tag=1.0")
PORTS = {"gateway": GATEWAY_PORT, "embedder": EMBEDDER_PORT, "hasher": FIRST_HASHER_PORT}
INSTALLATIONS: Mapping[str, Sequence[str]] = {
    "laptop": ("laptop",),
    "production": ("production",),
    "small": ("production", "size-small"),
    "10m": ("production", "size-10m"),
    "100m": ("production", "size-100m"),
}
"""The files of each installation that the chart has an example of."""


def values_of(example: str) -> list[str]:
    """The arguments of helm for an example."""
    return [f"--values={EXAMPLES / name}.yaml" for name in INSTALLATIONS[example]]


CASES: Mapping[str, Sequence[str]] = {
    **{name: values_of(name) for name in INSTALLATIONS},
    "triton-in-pod": (*values_of("production"), "--set", ",".join(TRITON)),
    "triton-apart": (
        *(*values_of("laptop"), "--set", ",".join(TRITON)),
        *("--set", "triton.placement=deployment,triton.autoscaling.enabled=true"),
        *("--set", "gateway.autoscaling.enabled=true,embedder.autoscaling.enabled=true"),
        *("--set", "embedder.autoscaling.metric=queueSeconds"),
        *("--set", "monitoring.serviceMonitors.enabled=true,models.source=imageVolume"),
    ),
}
"""Every example, and what none of them has."""
LAPTOP = CASES["laptop"]


def tool(name: str) -> str:
    """Returns a program of `make kube-tools`; skips where it is absent, which is a failure in CI."""
    path = TOOLS / name
    if not path.exists():
        reason = f"build/tools lacks {name}, which `make kube-tools` builds"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return str(path)


def run(*command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run(tool("helm"), *arguments)


@dataclass(frozen=True)
class Rendered:
    """The objects of a release."""

    text: str
    objects: tuple[Object, ...]

    def of_kind(self, kind: str) -> list[Object]:
        return [one for one in self.objects if one["kind"] == kind]

    def get(self, kind: str, name: str) -> Object:
        """The object of a name, given without what all names begin with."""
        wanted = f"{RELEASE}-lookalike-{name}"
        (found,) = [one for one in self.of_kind(kind) if one["metadata"]["name"] == wanted]
        return found

    def workloads(self) -> list[Object]:
        return [one for one in self.objects if one["kind"] in ("Deployment", "StatefulSet")]

    def pods(self) -> Iterator[tuple[str, Object]]:
        """Name of each pod's maker, and the pod: with metadata and spec."""
        for one in self.workloads():
            yield one["metadata"]["name"], one["spec"]["template"]
        for one in self.of_kind("Pod"):
            yield one["metadata"]["name"], one

    def pod(self, component: str) -> Object:
        (found,) = [
            pod
            for name, pod in self.pods()
            if pod["metadata"]["labels"]["app.kubernetes.io/component"] == component
        ]
        return found

    def container(self, component: str, name: str = "") -> Object:
        (found,) = [
            one for one in self.pod(component)["spec"]["containers"] if one["name"] == (name or component)
        ]
        return found

    def environment(self, component: str) -> dict[str, str]:
        """The variables of a service's container; the shard is that of pod 0."""
        container = self.container(component)
        variables = {one["name"]: one.get("value", "0") for one in container.get("env", ())}
        for source in container.get("envFrom", ()):
            (found,) = [
                one
                for one in self.of_kind("ConfigMap")
                if one["metadata"]["name"] == source["configMapRef"]["name"]
            ]
            variables |= found["data"]
        return variables


def parsed(text: str) -> Rendered:
    return Rendered(text, tuple(one for one in yaml.safe_load_all(text) if one))


@cache
def render(*arguments: str, chart: Path = CHART, release: str = RELEASE) -> Rendered:
    """What helm makes of the chart with some arguments, without a cluster."""
    result = helm("template", release, str(chart), "--namespace", "search", *arguments)
    assert result.returncode == 0, result.stderr
    return parsed(result.stdout)


def refused(*arguments: str) -> str:
    """What helm says to values that it refuses."""
    result = helm("template", RELEASE, str(CHART), *arguments)
    assert result.returncode != 0
    return result.stderr


def settings_of(rendered: Rendered, service: str, monkeypatch: pytest.MonkeyPatch) -> ServerSettings:
    """The settings as the service itself reads them from its container's variables."""
    for name in [name for name in os.environ if name.startswith("LOOKALIKE_")]:
        monkeypatch.delenv(name)
    for name, value in rendered.environment(service).items():
        monkeypatch.setenv(name, value)
    return SERVICES[service]()


def matches(selector: Object, labels: Object) -> bool:
    return all(labels.get(name) == value for name, value in selector.items())


def pods_of(rendered: Rendered, selector: Object) -> list[Object]:
    """Pods that a selector finds; the API server adds to the labels of a StatefulSet's."""
    own = {name: value for name, value in selector.items() if not name.startswith("statefulset.")}
    return [pod for _, pod in rendered.pods() if matches(own, pod["metadata"]["labels"])]


def containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
