"""The Compose file starts the services with real settings, and asks the ports that they listen on."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from lookalike.runtime.settings import ServerSettings
from scripts.chart_schema import SERVICES as SETTINGS

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SERVICES = ("gateway", "hasher-0", "embedder")
THIRD_PARTY = ("triton", "prometheus", "alertmanager", "grafana")
_VARIABLE = re.compile(r"\$\{\w+:-([^}]*)\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file with the default of each variable."""
    content = yaml.safe_load(_VARIABLE.sub(r"\1", (DEPLOY / "compose.yaml").read_text()))
    assert isinstance(content, dict)
    return content


def _settings(compose: dict[str, Any], name: str) -> ServerSettings:
    """What the service makes of its image's variables and of its own."""
    service = name.split("-")[0]
    prefix = f"LOOKALIKE_{service.upper()}_"
    given = dict(re.findall(rf"({prefix}\w+)=(\S+)", (DEPLOY / f"docker/{service}.Dockerfile").read_text()))
    given |= compose["services"][name]["environment"]
    assert all(variable.startswith(prefix) for variable in given)
    # Unknown names and bad values are refused.
    return SETTINGS[service](
        **{variable.removeprefix(prefix).lower(): value for variable, value in given.items()}
    )


def test_services_are_all_there(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {*SERVICES, *THIRD_PARTY}
    assert {name for name in THIRD_PARTY if "profiles" in compose["services"][name]} == set(THIRD_PARTY)


@pytest.mark.parametrize("name", SERVICES)
def test_settings_are_real_and_health_is_asked_on_the_port(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    settings = _settings(compose, name)
    assert settings.host == "0.0.0.0"
    assert service["healthcheck"]["test"] == [
        *("CMD", "python", "-m", "lookalike.runtime.probe"),
        f"127.0.0.1:{settings.port}",
    ]


def test_the_gateway_finds_the_others(compose: dict[str, Any]) -> None:
    environment = compose["services"]["gateway"]["environment"]
    hashers = environment["LOOKALIKE_GATEWAY_HASHERS"].split(",")
    embedder = environment["LOOKALIKE_GATEWAY_EMBEDDER"]
    for address in (embedder, *hashers):
        name, port = address.split(":")
        assert int(port) == _settings(compose, name).port
    shards = [name for name in compose["services"] if name.startswith("hasher-")]
    assert [address.split(":")[0] for address in hashers] == shards
    for number, name in enumerate(shards):
        settings: Any = _settings(compose, name)
        assert (settings.shard, settings.shard_count) == (number, len(shards))


@pytest.mark.parametrize("name", SERVICES)
def test_the_root_is_read_only_and_nothing_is_allowed(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_it_outlasts_the_drain(compose: dict[str, Any], name: str) -> None:
    settings = _settings(compose, name)
    grace = int(compose["services"][name]["stop_grace_period"].removesuffix("s"))
    assert grace > settings.drain_wait_seconds + settings.stop_grace_seconds


def test_ports_are_published_on_loopback_alone(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_those_of_this_version(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert service["image"] == f"localhost/lookalike-{name.split('-')[0]}:{version}"
    assert service["build"]["args"] == {"VERSION": version}
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_volumes_are_declared_or_in_the_repository(compose: dict[str, Any]) -> None:
    made_by_others = ("../build/", "./grafana/dashboards")
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith(made_by_others):
                continue
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"]


def test_prometheus_scrapes_the_metrics_ports(compose: dict[str, Any]) -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    targets = [
        target
        for job in config["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
    ]
    expected = [f"{name}:{_settings(compose, name).metrics_port}" for name in SERVICES]
    assert targets == [*expected, "triton:8002"]


def test_alerts_reach_a_receiver_by_their_severity(compose: dict[str, Any]) -> None:
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    targets = [
        target
        for manager in prometheus["alerting"]["alertmanagers"]
        for group in manager["static_configs"]
        for target in group["targets"]
    ]
    assert [target.split(":")[0] for target in targets] == ["alertmanager"]
    assert compose["services"]["alertmanager"]["ports"] == [f"127.0.0.1:9093:{targets[0].split(':')[1]}"]
    config = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yaml").read_text())
    routes = [config["route"], *config["route"]["routes"]]
    assert {route["receiver"] for route in routes} == {one["name"] for one in config["receivers"]}
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts" / "lookalike.yaml").read_text())["groups"]
    severities = {rule["labels"]["severity"] for group in groups for rule in group["rules"]}
    assert severities == {"page", "ticket"}
    assert [route["matchers"] for route in routes[1:]] == [['severity="ticket"']]
