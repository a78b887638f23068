"""The Dockerfiles agree with each other and with the settings of the services."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scripts.chart_schema import SERVICES

DOCKER = Path(__file__).resolve().parents[2] / "deploy" / "docker"


def _file(service: str) -> str:
    return (DOCKER / f"{service}.Dockerfile").read_text()


def _stage(service: str) -> str:
    """The first stage, with the comments on it."""
    text = _file(service)
    return text[text.index("# Word for word") : text.index("FROM python AS build")]


def test_the_first_stage_is_the_same_in_all() -> None:
    assert _stage("hasher") == _stage("gateway")
    assert _stage("embedder") == _stage("gateway")


@pytest.mark.parametrize("service", SERVICES)
def test_variables_are_settings(service: str) -> None:
    prefix = f"LOOKALIKE_{service.upper()}_"
    names = re.findall(r"\b(LOOKALIKE_\w+)=", _file(service))
    assert names
    assert all(name.startswith(prefix) for name in names)
    assert {name.removeprefix(prefix).lower() for name in names} <= set(SERVICES[service].model_fields)


@pytest.mark.parametrize("service", SERVICES)
def test_exposed_ports_are_those_of_the_settings(service: str) -> None:
    required = {"gateway": {"data_folder": "/data"}, "hasher": {"data_folder": "/data"}}
    settings = SERVICES[service](**required.get(service, {"bundle": "/bundle"}))
    ports = " ".join(str(port) for _, port in settings.listens_on)
    assert f"EXPOSE {ports}\n" in _file(service)


@pytest.mark.parametrize("service", SERVICES)
def test_it_runs_the_service_as_another_user_than_root(service: str) -> None:
    text = _file(service)
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)
    assert json.loads(entry) == ["python", "-m", service]
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["65532:65532"]
