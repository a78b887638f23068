"""What the dashboards and rules ask Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
RULES = ROOT / "deploy" / "prometheus" / "rules" / "lookalike.yaml"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts" / "lookalike.yaml"


@dataclass(frozen=True)
class PanelQuery:
    """One query of one panel."""

    dashboard: str
    panel: str
    expr: str

    def at(self, namespace: str, rate_interval: str) -> str:
        """Returns the query with what its reader chose."""
        chosen = self.expr.replace("$__rate_interval", rate_interval).replace("$namespace", namespace)
        assert "$" not in chosen, chosen
        return chosen


def panels(file: Path) -> list[dict[str, Any]]:
    """Returns the panels of a dashboard, rows among them."""
    found: list[dict[str, Any]] = json.loads(file.read_text())["panels"]
    return found


def panel_queries() -> Iterator[PanelQuery]:
    """Yields every query of every dashboard."""
    for file in DASHBOARDS:
        for panel in panels(file):
            for target in panel.get("targets", ()):
                yield PanelQuery(file.stem, panel["title"], target["expr"])


def rules(file: Path) -> list[dict[str, Any]]:
    """Returns the rules of a file: recording rules or alerts."""
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
