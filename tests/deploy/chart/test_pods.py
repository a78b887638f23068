"""How pods start, stop and are replaced."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from deploy.local.process import ROOT
from embedder.server import FULL_NAME as EMBEDDER
from hasher.server import FULL_NAME as HASHER
from lookalike.runtime import front
from lookalike.runtime.health import LIVENESS
from scripts import chart
from scripts.chart_schema import SERVICES
from tests.deploy.chart.rendering import (
    CASES,
    CHART,
    LAPTOP,
    PORTS,
    Rendered,
    matches,
    render,
    settings_of,
)

SEARCH = "lookalike.v1.SearchService"
ROOM_SECONDS = 5


def health_names(service: str) -> set[str]:
    own = {"gateway": SEARCH, "embedder": EMBEDDER, "hasher": HASHER}[service]
    return {own, LIVENESS}


@pytest.mark.parametrize("service", SERVICES)
def test_probes_ask_what_the_service_answers(service: str, case: Rendered) -> None:
    container = case.container(service)
    probes = {kind: container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")}
    assert {probe["grpc"]["port"] for probe in probes.values()} == {PORTS[service]}
    assert {probe["grpc"]["service"] for probe in probes.values()} == health_names(service)
    assert probes["liveness"]["grpc"]["service"] == LIVENESS
    assert probes["readiness"]["grpc"]["service"] != LIVENESS


@pytest.mark.parametrize("service", SERVICES)
def test_a_process_that_is_busy_for_half_a_minute_is_not_restarted(service: str, case: Rendered) -> None:
    probe = case.container(service)["livenessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 60
    assert probe["timeoutSeconds"] <= probe["periodSeconds"]


def test_a_start_gets_its_budget() -> None:
    rendered = render(*LAPTOP, "--set", "hasher.startupBudgetSeconds=1234")
    probe = rendered.container("hasher")["startupProbe"]
    assert 1234 <= probe["periodSeconds"] * probe["failureThreshold"] < 1234 + probe["periodSeconds"]
    triton = render(*CASES["triton-in-pod"]).container("embedder", "triton")["startupProbe"]
    assert triton["periodSeconds"] * triton["failureThreshold"] == 600


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_is_killed_only_after_its_longest_drain(
    service: str, case: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(case, service, monkeypatch)
    values = yaml.safe_load(chart.VALUES.read_text())
    longest = (
        settings.drain_wait_seconds
        + settings.stop_grace_seconds
        + front._BACKSTOP_SECONDS
        + front._LINGER_SECONDS
        + values[service].get("saveSeconds", 0)
    )
    assert case.pod(service)["spec"]["terminationGracePeriodSeconds"] >= longest + ROOM_SECONDS


def test_triton_answers_until_its_embedder_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = render(*CASES["triton-in-pod"])
    settings = settings_of(rendered, "embedder", monkeypatch)
    longest = settings.drain_wait_seconds + settings.stop_grace_seconds
    triton = rendered.container("embedder", "triton")
    waits = triton["lifecycle"]["preStop"]["sleep"]["seconds"]
    (exit_timeout,) = [
        int(argument.partition("=")[2]) for argument in triton["command"] if "exit-timeout" in argument
    ]
    assert waits >= longest + front._BACKSTOP_SECONDS
    grace = rendered.pod("embedder")["spec"]["terminationGracePeriodSeconds"]
    assert grace >= waits + exit_timeout + ROOM_SECONDS


def test_parts_of_seconds_are_waited_for_as_whole_ones() -> None:
    """Kubernetes takes no others, and a time that is cut short ends a pod too soon."""
    waits = ("hasher.saveSeconds", "hasher.drainWaitSeconds", "triton.drainWaitSeconds")
    whole, parts = (
        render(*CASES["triton-apart"], "--set-json", ",".join(f"{name}={seconds}" for name in waits))
        for seconds in ("8", "7.5")
    )
    assert parts.container("triton")["lifecycle"]["preStop"]["sleep"]["seconds"] == 8
    for component in ("hasher", "triton"):
        grace = "terminationGracePeriodSeconds"
        assert parts.pod(component)["spec"][grace] == whole.pod(component)["spec"][grace]


def test_a_triton_that_waits_for_nobody_has_no_hook() -> None:
    """A sleep of 0 is refused by Kubernetes before 1.33."""
    rendered = render(*CASES["triton-apart"], "--set", "triton.drainWaitSeconds=0")
    assert "lifecycle" not in rendered.container("triton")


def test_the_copy_of_the_models_may_take_what_its_volume_holds() -> None:
    rendered = render(
        *CASES["laptop"],
        *("--set", "models.source=image,models.image.repository=models,models.image.tag=v1"),
        *("--set", "models.sizeLimit=7Gi,models.resources.limits.memory=99Mi"),
        # As from a file of values that sets both.
        *("--set", "models.resources.requests.ephemeral-storage=1Gi"),
    )
    spec = rendered.pod("embedder")["spec"]
    (copy,) = spec["initContainers"]
    assert copy["resources"]["limits"] == {"memory": "99Mi", "ephemeral-storage": "7Gi"}
    assert copy["resources"]["requests"]["ephemeral-storage"] == "7Gi"
    (volume,) = [one for one in spec["volumes"] if one["name"] == "models"]
    assert volume["emptyDir"] == {"sizeLimit": "7Gi"}


def test_a_changed_setting_rolls_the_pods_of_its_service_alone() -> None:
    def checksums(*arguments: str) -> dict[str, str]:
        rendered = render(*LAPTOP, *arguments)
        return {
            service: rendered.pod(service)["metadata"]["annotations"]["checksum/config"]
            for service in SERVICES
        }

    before, after = checksums(), checksums("--set", "hasher.settings.search_threads=3")
    assert {service for service in SERVICES if before[service] != after[service]} == {"hasher"}


def test_a_new_chart_alone_restarts_nothing(tmp_path: Path) -> None:
    newer = tmp_path / "lookalike"
    shutil.copytree(CHART, newer)
    text = (newer / "Chart.yaml").read_text()
    (newer / "Chart.yaml").write_text(re.sub(r"^version: .*", "version: 99.0.0", text, flags=re.MULTILINE))
    before, after = render(*LAPTOP), render(*LAPTOP, chart=newer)
    assert before.text != after.text
    for service in SERVICES:
        assert before.pod(service) == after.pod(service)


def test_what_cannot_be_changed_names_no_version(case: Rendered) -> None:
    for one in case.workloads():
        fixed = [one["spec"]["selector"], *one["spec"].get("volumeClaimTemplates", ())]
        assert "version" not in json.dumps([part.get("metadata", part) for part in fixed])
        assert matches(one["spec"]["selector"]["matchLabels"], one["spec"]["template"]["metadata"]["labels"])


def test_data_outlives_the_release() -> None:
    rendered = render(*LAPTOP)
    hashers = rendered.get("StatefulSet", "hasher-r0")["spec"]
    retention = {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert hashers["persistentVolumeClaimRetentionPolicy"] == retention
    claim = rendered.get("PersistentVolumeClaim", "gateway")["metadata"]
    assert claim["annotations"]["helm.sh/resource-policy"] == "keep"


def test_a_roll_out_never_runs_two_gateways_on_one_file() -> None:
    gateway = render(*LAPTOP).get("Deployment", "gateway")["spec"]
    assert (gateway["replicas"], gateway["strategy"]) == (1, {"type": "Recreate"})


def test_the_gateways_autoscaler_looks_at_calls_in_progress_and_adds_no_pod() -> None:
    scaler = render(*CASES["triton-apart"]).get("HorizontalPodAutoscaler", "gateway")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (1, 1)
    (metric,) = scaler["metrics"]
    assert metric["pods"]["metric"] == {
        "name": "lookalike_calls_in_progress",
        "selector": {"matchLabels": {"kind": "call"}},
    }


def test_autoscalers_decide_the_number_of_pods() -> None:
    rendered = render(*CASES["triton-apart"])
    scalers = rendered.of_kind("HorizontalPodAutoscaler")
    assert len(scalers) == 3
    for one in scalers:
        target = one["spec"]["scaleTargetRef"]
        (deployment,) = [
            found for found in rendered.of_kind("Deployment") if found["metadata"]["name"] == target["name"]
        ]
        assert "replicas" not in deployment["spec"]


def test_autoscalers_read_metrics_that_there_are() -> None:
    """Those that a pod serves, or that the adapter computes from such by the rules on the page."""
    declared = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    page = (ROOT / "docs" / "deployment.md").read_text()
    computed = set(re.findall(r"name: {as: (\w+)}", page))
    read = set(re.findall(r"(lookalike_\w+?)(?:_sum|_count)?{", page))
    assert read <= declared
    for name in ("queueDepth", "queueSeconds"):
        rendered = render(*CASES["triton-apart"], "--set", f"embedder.autoscaling.metric={name}")
        for one in rendered.of_kind("HorizontalPodAutoscaler"):
            (metric,) = one["spec"]["metrics"]
            assert metric["pods"]["metric"]["name"] in declared | computed
