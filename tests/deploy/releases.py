"""A release of the chart in a namespace of its own, as a platform team would have it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from deploy.local.kube import Cluster
from tests.deploy.chart.rendering import CHART, Object, Rendered, render

NAME = "r"
OBJECTS = f"{NAME}-lookalike"

_numbers = itertools.count()


def claims(rendered: Rendered) -> Iterator[Object]:
    """The specification of each claim that the objects of a release make."""
    for one in rendered.objects:
        match one:
            case {"kind": "PersistentVolumeClaim", "spec": spec}:
                yield spec
            case {"kind": "StatefulSet", "spec": {"replicas": count, "volumeClaimTemplates": templates}}:
                yield from (template["spec"] for template in templates for _ in range(count))


class Release:
    """The chart in a new namespace, which refuses pods that are not as restricted as can be.

    Args:
        cluster: Where.
        values: Arguments of helm for every install and upgrade.
        add_volume: Makes a volume for a claim; by default one of the cluster's, which no pod could use.
    """

    def __init__(
        self, cluster: Cluster, *values: str, add_volume: Callable[[Object], None] | None = None
    ) -> None:
        self.cluster = cluster
        self._add_volume = add_volume or cluster.add_volume
        self.namespace = f"test-{next(_numbers)}"
        self._values = values
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        metadata = {"name": self.namespace, "labels": labels}
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def add_models(self) -> None:
        """Makes the claim that the chart's examples read models from."""
        spec = {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "resources": {"requests": {"storage": "10Gi"}},
        }
        metadata = {"name": "lookalike-models", "namespace": self.namespace}
        self._add_volume(spec)
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
        )

    def install(self, *arguments: str) -> None:
        """Installs it on new volumes, and waits until everything is ready."""
        for spec in claims(render(*self._values, *arguments, release=NAME)):
            self._add_volume(spec)
        self.helm("install", NAME, str(CHART), "--wait", "--timeout=120s", *self._values, *arguments)

    def upgrade(self, *arguments: str, timeout: str = "120s") -> None:
        """Upgrades it, and waits until everything is ready."""
        self.helm("upgrade", NAME, str(CHART), "--wait", f"--timeout={timeout}", *self._values, *arguments)

    def helm(self, *arguments: str) -> str:
        """Runs helm in the namespace."""
        return self.cluster.helm(f"--namespace={self.namespace}", *arguments)

    def kubectl(self, *arguments: str) -> str:
        """Runs kubectl in the namespace."""
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments)

    def get(self, *arguments: str) -> Any:
        """Returns objects of the namespace."""
        return self.cluster.get(f"--namespace={self.namespace}", *arguments)

    def pods(self, component: str) -> list[Object]:
        """The pods of a component that are not about to go."""
        found = self.get("pods", f"--selector=app.kubernetes.io/component={component}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, component: str) -> dict[str, str]:
        """The image of each ready pod of a component."""
        return {
            pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"]
            for pod in self.pods(component)
            for condition in pod["status"].get("conditions", ())
            if condition["type"] == "Ready" and condition["status"] == "True"
        }

    def revision(self) -> tuple[int, str]:
        """The number and state of what is installed."""
        last = yaml.safe_load(self.helm("history", NAME, "--max=1", "--output=json"))[-1]
        return last["revision"], last["status"]
