"""A real Prometheus as a process on a free port, which scrapes what it is given and evaluates rules."""

from __future__ import annotations

import json
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.answers import DIRECT, is_answered
from deploy.local.process import ROOT, LocalProcess, free_ports

NAMESPACE = "local"
"""What Kubernetes would add to each series."""
_UNPACKED = ROOT / "build" / "prometheus" / "usr" / "bin"


def tool(name: str) -> str:
    """Returns the path of ``prometheus`` or ``promtool``, empty where it is not installed.

    ``make prometheus-install`` installs both where the machine has none.
    """
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_UNPACKED}") or ""


@dataclass(frozen=True)
class Sample:
    """One series of an answer: its labels, and its last value."""

    labels: Mapping[str, str]
    value: float


class QueryError(Exception):
    """Prometheus could not answer a query."""


class PrometheusServer:
    """Scrapes services, keeps what it finds and evaluates rules.

    Args:
        folder: Gets its configuration, its data and its log.
        rules: Files of rules.
        interval_seconds: Between two scrapes, and between two evaluations of the rules.
    """

    def __init__(self, folder: Path, rules: Sequence[Path] = (), interval_seconds: float = 1.0) -> None:
        self._folder = folder
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._targets = folder / "targets.json"
        interval = f"{round(interval_seconds * 1000)}ms"
        scrape = {
            "scrape_timeout": interval,
            "job_name": "lookalike",
            "file_sd_configs": [{"files": [str(self._targets)]}],
        }
        configuration = {
            "global": {f"{what}_interval": interval for what in ("scrape", "evaluation")},
            "rule_files": [str(file) for file in rules],
            "scrape_configs": [scrape],
        }
        # JSON is YAML, too.
        (folder / "prometheus.yaml").write_text(json.dumps(configuration, indent=2))
        self._process = LocalProcess(
            [
                tool("prometheus"),
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            folder / "prometheus.log",
        )

    def scrape(self, targets: Mapping[str, Iterable[str]]) -> None:
        """Sets what is scraped from now on, by job: addresses ``host:port``."""
        groups = [
            {"targets": list(addresses), "labels": {"job": job, "namespace": NAMESPACE}}
            for job, addresses in targets.items()
        ]
        written = self._targets.with_suffix(".new")
        written.write_text(json.dumps(groups))
        written.replace(self._targets)

    def start(self) -> None:
        """Starts it, and waits until it answers.

        Raises:
            RuntimeError: It ended, or did not answer in time; the message holds its log.
        """
        self._process.start()
        self._process.wait_until(self._is_ready)

    def stop(self) -> None:
        """Ends it."""
        if self._process.is_running():
            self._process.stop()

    def query(self, expression: str) -> list[Sample]:
        """Returns what an expression yields now.

        Raises:
            QueryError: It is wrong, or cannot be evaluated.
        """
        data = self._get("query", query=expression)
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(series["metric"], float(series["value"][1])) for series in data["result"]]

    def exemplars(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        """Returns the exemplars of an expression's series between two times."""
        found: list[dict[str, Any]] = self._get("query_exemplars", query=expression, start=start, end=end)
        return found

    def firing(self) -> dict[str, list[Mapping[str, str]]]:
        """Returns the alerts that fire: name → the labels of each."""
        firing: dict[str, list[Mapping[str, str]]] = {}
        for alert in self._get("alerts")["alerts"]:
            if alert["state"] == "firing":
                firing.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
        return firing

    def rules(self) -> list[dict[str, Any]]:
        """Returns each rule with its name, query, health and last error."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def healthy_targets(self) -> int:
        """Returns how many targets the last scrape reached."""
        return sum(target["health"] == "up" for target in self._get("targets")["activeTargets"])

    def _is_ready(self) -> bool:
        return is_answered(f"{self.url}/-/ready")

    def _get(self, path: str, **parameters: object) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with DIRECT.open(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise QueryError(json.load(error)["error"]) from error
