"""The chart as a whole: what checks it, what it refuses, and what it hands on."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from deploy.local.process import ROOT
from scripts import chart
from scripts.chart_schema import SERVICES
from tests.deploy.chart.rendering import (
    CASES,
    CHART,
    EXAMPLES,
    INSTALLATIONS,
    LAPTOP,
    Rendered,
    helm,
    matches,
    pods_of,
    refused,
    render,
    run,
    tool,
)

VERSIONS = ("1.34.4", "1.35.4", "1.36.3")
UNSCORED = {
    "container-image-pull-policy": "tags are never moved, and a laptop's images are in no registry",
    "deployment-has-host-podantiaffinity": "pods are spread by topologySpreadConstraints",
    "statefulset-has-host-podantiaffinity": "likewise",
    "deployment-replicas": "one gateway, and on a laptop one of each",
    "deployment-strategy": "two gateways never run on one file",
    "horizontalpodautoscaler-replicas": "one Triton may be enough",
    "service-targets-pod": "it does not know what tells the pods of a StatefulSet apart",
}
"""Checks of kube-score that are left out, and why."""


def test_versions_are_those_of_the_package() -> None:
    declared = yaml.safe_load((CHART / "Chart.yaml").read_text())
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (declared["version"], declared["appVersion"]) == (package, package)


def test_the_page_names_values_that_exist() -> None:
    known = {".".join(value.path) for value in chart.read_values(chart.VALUES.read_text())}
    groups = {name for name in known if "." not in name}
    page = (ROOT / "docs" / "deployment.md").read_text()
    named = {
        name for name in re.findall(r"`([a-z]+\.[a-zA-Z.]+)[`=]", page) if name.partition(".")[0] in groups
    }
    assert len(named) > 5
    assert not named - known


def test_written_files_are_current() -> None:
    assert not chart.stale(), "run `make docs-generated` and commit the result"


def test_every_value_is_explained() -> None:
    values = chart.read_values(chart.VALUES.read_text())
    assert len(values) > 100
    assert not [".".join(value.path) for value in values if not value.meaning and not value.is_group]


def test_every_example_is_rendered_here() -> None:
    used = {f"{name}.yaml" for names in INSTALLATIONS.values() for name in names}
    assert used == {path.name for path in EXAMPLES.iterdir()}


@pytest.mark.parametrize("name", CASES)
def test_lint_finds_nothing(name: str) -> None:
    result = helm("lint", "--strict", str(CHART), *CASES[name])
    assert result.returncode == 0, result.stdout + result.stderr


def test_names_of_a_long_release_are_short_enough() -> None:
    rendered = render(*CASES["production"], "--set", "hasher.shardCount=1000", release="r" * 53)
    names = {(one["kind"], one["metadata"]["name"]) for one in rendered.objects}
    assert len(names) == len(rendered.objects)
    # The name of a revision, with a hash, is the value of a label.
    assert all(len(name) <= (52 if kind == "StatefulSet" else 63) for kind, name in names)


def test_images_are_named_by_registry_tag_and_digest() -> None:
    digest = f"sha256:{'0' * 64}"
    rendered = render(
        *(*LAPTOP, "--set", f"image.registry=registry.internal/shop,hasher.image.digest={digest}"),
        *("--set", "embedder.image.tag=2.0,image.pullSecrets={mine}"),
    )
    images = {service: rendered.container(service)["image"] for service in SERVICES}
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert images == {
        "gateway": f"registry.internal/shop/lookalike-gateway:{version}",
        "hasher": f"registry.internal/shop/lookalike-hasher@{digest}",
        "embedder": "registry.internal/shop/lookalike-embedder:2.0",
    }
    assert all(pod["spec"]["imagePullSecrets"] == [{"name": "mine"}] for _, pod in rendered.pods())


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(version: str, case: Rendered) -> None:
    schemas = f"{tool('schemas')}/{{{{.NormalizedKubernetesVersion}}}}-standalone{{{{.StrictSuffix}}}}"
    command = [tool("kubeconform"), "-strict", "-summary", "-kubernetes-version", version]
    names = "{{.ResourceKind}}{{.KindSuffix}}.json"
    result = run(*command, "-schema-location", f"{schemas}/{names}", "-", stdin=case.text)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Skipped: 0" in result.stdout


def test_score_finds_nothing(case: Rendered) -> None:
    ignored = [part for name in UNSCORED for part in ("--ignore-test", name)]
    result = run(
        *(tool("kube-score"), "score", "--ignore-container-cpu-limit", *ignored),
        *("--output-format", "ci", "-"),
        stdin=case.text,
    )
    worse = [line for line in result.stdout.splitlines() if not line.startswith(("[OK]", "[SKIPPED]"))]
    assert not worse, "\n".join(worse)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gateway.replicas=2"], "one gateway, because its directory of collections is embedded"),
        (
            ["gateway.autoscaling.maxReplicas=2"],
            "the hashers refuse a second gateway with a directory of its own",
        ),
        (["models.source="], "models.source must say where the model bundle comes from"),
        (["models.source=claim"], "models.claim must name the PersistentVolumeClaim"),
        (["models.image.repository="], "models.image.repository must name the image"),
        (["models.image.tag="], "models.image.tag or models.image.digest must be set"),
        (["embedder.backend=triton"], "triton.image.repository must name an image of Triton"),
        (["embedder.backend=cuda"], "value must be one of 'auto', 'onnx', 'openvino', 'triton'"),
        (["hasher.shardCount=0"], "at '/hasher/shardCount': minimum: got 0, want 1"),
        (["gateway.settings.max_searches=0"], "at '/gateway/settings/max_searches': minimum: got 0, want 1"),
        (["gateway.setting.max_searches=1"], "additional properties 'setting' not allowed"),
        (["hasher.storage.size=ten"], "at '/hasher/storage/size'"),
        # Triton speaks OTLP over HTTP alone.
        (["triton.traceEndpoint=collector:4317"], "at '/triton/traceEndpoint'"),
        (
            ["embedder.autoscaling.enabled=true,embedder.autoscaling.maxReplicas=1"],
            "embedder.autoscaling.maxReplicas must be at least minReplicas",
        ),
        (
            ["triton.placement=deployment,embedder.settings.triton_shared_memory=true"],
            "embedder.settings.triton_shared_memory needs triton.placement=pod",
        ),
    ],
)
def test_bad_values_are_refused_with_the_reason(arguments: list[str], message: str) -> None:
    assert message in refused(*LAPTOP, *(part for one in arguments for part in ("--set", one)))


def test_monitors_find_the_ports_of_metrics() -> None:
    rendered = render(*CASES["production"])
    monitors = rendered.of_kind("ServiceMonitor")
    assert len(monitors) == len(SERVICES)
    for monitor in monitors:
        names = {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]}
        services = [
            one
            for one in rendered.of_kind("Service")
            if matches(monitor["spec"]["selector"]["matchLabels"], one["metadata"]["labels"])
        ]
        found = [port for one in services for port in one["spec"]["ports"] if port["name"] in names]
        assert len(found) == 1, monitor["metadata"]["name"]


@pytest.mark.parametrize("case", ["production", "triton-in-pod", "triton-apart"])
def test_series_are_named_by_pods_and_no_two_targets_alike(case: str) -> None:
    rendered = render(*CASES[case])
    targets = []
    for monitor in rendered.of_kind("ServiceMonitor"):
        pods = pods_of(rendered, monitor["spec"]["selector"]["matchLabels"])
        assert pods
        for endpoint in monitor["spec"]["endpoints"]:
            steps = {step["targetLabel"]: step for step in endpoint["relabelings"]}
            assert steps["instance"]["sourceLabels"] == ["__meta_kubernetes_pod_name"]
            # One pod that serves metrics on two ports needs two jobs.
            targets += [(steps["job"]["replacement"], str(pod)) for pod in pods]
    assert len(set(targets)) == len(targets)


def test_callers_do_not_find_metrics_at_the_gateway() -> None:
    (port,) = render(*CASES["production"]).get("Service", "gateway")["spec"]["ports"]
    assert port["name"] == "grpc"


def test_rules_and_dashboards_are_handed_on_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "lookalike"
    shutil.copytree(CHART, folder)
    groups = {"groups": [{"name": "x", "rules": [{"alert": "A", "expr": "up", "annotations": {}}]}]}
    groups["groups"][0]["rules"][0]["annotations"] = {
        "summary": "{{ $labels.shard }} is {{ $value | humanize }}"
    }  # type: ignore[index]
    dashboard = '{"title": "T", "legend": "{{shard}}"}\n'
    for name, text in (("rules/alerts-x.yaml", yaml.safe_dump(groups)), ("dashboards/t.json", dashboard)):
        (folder / "files" / name).parent.mkdir(exist_ok=True)
        (folder / "files" / name).write_text(text)
    rendered = render(*CASES["production"], chart=folder)
    assert rendered.get("PrometheusRule", "alerts-x")["spec"] == groups
    config = rendered.get("ConfigMap", "dashboard-t")
    assert config["data"] == {"t.json": dashboard}
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_everything_committed_for_prometheus_and_grafana_is_in_the_chart() -> None:
    rendered = render(*CASES["production"])
    rules = list((ROOT / "deploy" / "prometheus").glob("[ra][ul][le]*/*.yaml"))
    dashboards = list((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
    assert len(rendered.of_kind("PrometheusRule")) == len(rules)
    found = [one for one in rendered.of_kind("ConfigMap") if "-dashboard-" in one["metadata"]["name"]]
    assert len(found) == len(dashboards)
    assert all(len(json.dumps(one)) < 1 << 20 for one in found), "too large for a ConfigMap"
