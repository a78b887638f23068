"""Objects that a cluster in a test needs: nodes, volumes, and the API of served metrics."""

from __future__ import annotations

import json
from typing import Any

from deploy.local.isolated import ADDRESS

METRICS_PORT = 6300

Object = dict[str, Any]


def as_list(*objects: Object) -> str:
    """Returns objects as one manifest."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def node(number: int) -> Object:
    """Returns a node that kwok runs, in a zone of its own."""
    name = f"node-{number}"
    room = {
        "cpu": "64",
        "memory": "512Gi",
        "ephemeral-storage": "1Ti",
        "pods": "110",
        "nvidia.com/gpu": "8",
    }
    labels = {
        "type": "kwok",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": f"zone-{number}",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": room, "capacity": room},
    }


def volume(number: int, claim: Object) -> Object:
    """Returns a volume that suits a claim of this specification."""
    name = f"volume-{number}"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": claim["resources"]["requests"]["storage"]},
            "accessModes": claim["accessModes"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": claim.get("storageClassName", ""),
            "hostPath": {"path": f"/mnt/{name}"},
        },
    }


def metrics_service() -> list[Object]:
    """Returns a service, and where the server of metrics listens."""
    metadata = {"name": "metrics", "namespace": "kube-system"}
    labels = {"kubernetes.io/service-name": "metrics"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"port": 443, "targetPort": METRICS_PORT}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": METRICS_PORT, "protocol": "TCP"}],
            "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}],
        },
    ]


def metrics_apis() -> list[Object]:
    """Returns the APIs that the server of metrics has."""
    return [
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{version}.{group}"},
            "spec": {
                "service": {"name": "metrics", "namespace": "kube-system"},
                "group": group,
                "version": version,
                "insecureSkipTLSVerify": True,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        }
        for group, version in (("metrics.k8s.io", "v1beta1"), ("custom.metrics.k8s.io", "v1beta2"))
    ]
