"""Rules and alerts: they are valid, promtool tests each, and each alert has its place in the runbook."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.prometheus import tool
from tests.deploy.faults.known import FAULTS
from tests.deploy.queries import ALERTS, DASHBOARDS, ROOT, RULES, panels, rules
from tests.deploy.scaled import scaled

TESTS = sorted((ROOT / "deploy" / "prometheus" / "tests").glob("*.yaml"))
RUNBOOK = ROOT / "docs" / "runbook.md"
RULE_NAMES = {rule["record"] for rule in rules(RULES)}
ALERT_NAMES = {rule["alert"] for rule in rules(ALERTS)}


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus's checker; `make prometheus-install` gets it, and CI must have it."""
    path = tool("promtool")
    if not path:
        message = "promtool is not installed; `make prometheus-install` gets it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def run(promtool: str, *arguments: object) -> None:
    done = subprocess.run(
        [promtool, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_valid(promtool: str) -> None:
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", RULES, ALERTS)


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_the_rules_do_what_their_tests_say(promtool: str, file: Path) -> None:
    run(promtool, "test", "rules", file)


def _cases() -> list[dict[str, Any]]:
    return [case for file in TESTS for case in yaml.safe_load(file.read_text())["tests"]]


def test_each_rule_has_a_test() -> None:
    asked = " ".join(check["expr"] for case in _cases() for check in case.get("promql_expr_test", ()))
    assert {name for name in RULE_NAMES if not re.search(rf"{name}\b", asked)} == set()


@pytest.mark.parametrize("alert", sorted(ALERT_NAMES))
def test_each_alert_is_seen_to_fire_and_to_be_silent(alert: str) -> None:
    checks = [
        bool(check["exp_alerts"])
        for case in _cases()
        for check in case.get("alert_rule_test", ())
        if check["alertname"] == alert
    ]
    assert set(checks) == {True, False}


def test_each_alert_has_its_fault() -> None:
    """What `make alerts` does."""
    assert {alert for fault in FAULTS for alert in fault.alerts} == ALERT_NAMES


@pytest.mark.parametrize("file", [RULES, ALERTS], ids=["rules", "alerts"])
def test_rules_of_short_durations_are_valid(promtool: str, file: Path, tmp_path: Path) -> None:
    run(promtool, "check", "rules", scaled(file, tmp_path / "short.yaml"))
    assert not re.search(r"\[\w+[mhd]\]|for: \w+[mhd]", (tmp_path / "short.yaml").read_text())


def test_windows_of_a_rule_differ_in_nothing_else() -> None:
    """The expressions of a family are the same, and each is of the window that its name says."""
    families: dict[str, set[str]] = {}
    for rule in rules(RULES):
        family, window = re.fullmatch(r"(.*(?:rate|increase))(\w+)", rule["record"]).groups()  # type: ignore[union-attr]
        assert set(re.findall(r"\[(\w+)\]", rule["expr"])) == {window}
        families.setdefault(family, set()).add(rule["expr"].replace(f"[{window}]", "[]"))
    assert all(len(expressions) == 1 for expressions in families.values())


@pytest.mark.parametrize("rule", rules(ALERTS), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "runbook_url"}
    assert len(rule["annotations"]["summary"]) <= 140
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_the_runbook_has_a_section_for_each_alert_and_for_no_other() -> None:
    sections = re.findall(r"^### (Lookalike\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(ALERT_NAMES)


@pytest.mark.parametrize("alert", sorted(ALERT_NAMES))
def test_a_section_says_what_it_means_how_to_look_and_what_to_do(alert: str) -> None:
    text = RUNBOOK.read_text()
    section = re.split(r"^##", text.split(f"### {alert}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    for part in ("Means", "Look", "Do"):
        assert f"**{part}:**" in section


def test_the_runbook_names_what_there_is() -> None:
    """Panels by the titles that they have, and files and headings that exist."""
    text = re.sub(r"\s+", " ", RUNBOOK.read_text())
    titles = {panel["title"] for file in DASHBOARDS for panel in panels(file)}
    assert not set(re.findall(r"“([^”]+)”", text)) - titles
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", text):
        file = RUNBOOK.parent / target if target else RUNBOOK
        assert file.exists(), target
        headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, anchor
