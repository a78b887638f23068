"""The JSON schema of the chart's values: types from the defaults, what is narrower from here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from embedder.config import EmbedderSettings
from gateway.config import GatewaySettings
from hasher.config import HasherSettings
from lookalike.runtime.settings import ServerSettings

Schema = dict[str, Any]

SERVICES: dict[str, type[ServerSettings]] = {
    "gateway": GatewaySettings,
    "hasher": HasherSettings,
    "embedder": EmbedderSettings,
}
_SET_EVERYWHERE = {"host", "port", "metrics_port", "metrics_host", "insecure", "ready_file"} | {
    "drain_wait_seconds",
    "stop_grace_seconds",
}
SET_BY_CHART: Mapping[str, set[str]] = {
    "gateway": _SET_EVERYWHERE | {"data_folder", "embedder", "hashers"},
    "hasher": _SET_EVERYWHERE | {"data_folder", "search_port", "shard", "shard_count"},
    "embedder": _SET_EVERYWHERE | {"bundle", "backend", "triton_url", "triton_model"},
}
"""Settings that other values of the chart decide, or the agreement between its objects."""


class _Value(Protocol):
    @property
    def path(self) -> tuple[str, ...]: ...
    @property
    def meaning(self) -> str: ...
    @property
    def default(self) -> Any: ...
    @property
    def is_group(self) -> bool: ...


def _one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def _named(definition: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}"}


_COUNT: Schema = {"type": "integer", "minimum": 1}
_SECONDS: Schema = {"type": "number", "minimum": 0, "maximum": 86400}
_OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
_NAMES: Schema = {"type": "array", "items": {"type": "string", "minLength": 1}}
_SPREAD = _one_of("ScheduleAnyway", "DoNotSchedule", "Off")

# By the last name of a path, or by the whole path.
_NARROWER: dict[str, Schema] = {
    "accessMode": _one_of("ReadWriteOnce", "ReadWriteOncePod"),
    "affinity": {"type": "object"},
    "annotations": _named("texts"),
    "callers": _OBJECTS,
    "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "drainWaitSeconds": _SECONDS,
    "embedder.autoscaling.metric": _one_of("queueDepth", "queueSeconds"),
    "embedder.backend": _one_of("auto", "onnx", "openvino", "triton"),
    "exitTimeoutSeconds": {"type": "integer", "minimum": 0},
    "extraArgs": _NAMES,
    "extraEgress": _OBJECTS,
    "fullnameOverride": {"type": "string", "pattern": "^([a-z]([-a-z0-9]*[a-z0-9])?)?$", "maxLength": 40},
    "gateway.service.type": _one_of("ClusterIP", "NodePort", "LoadBalancer"),
    "gpus": {"type": "integer", "minimum": 0},
    "image.pullPolicy": _one_of("IfNotPresent", "Always", "Never"),
    "interval": _named("duration"),
    "labels": _named("texts"),
    "maxReplicas": _COUNT,
    "maxSurge": _named("countOrShare"),
    "maxUnavailable": _named("countOrShare"),
    "metricsFrom": _OBJECTS,
    "minReplicas": _COUNT,
    "models.source": _one_of("", "claim", "image", "imageVolume"),
    "nodeSelector": _named("texts"),
    "nodes": _SPREAD,
    "podAnnotations": _named("texts"),
    "podLabels": _named("texts"),
    "pullSecrets": _NAMES,
    "replicas": {"type": "integer", "minimum": 0},
    "resources": _named("resources"),
    "saveSeconds": _SECONDS,
    "scaleDownSeconds": {"type": "integer", "minimum": 0, "maximum": 3600},
    "scrapeTimeout": _named("duration"),
    "shardCount": {"type": "integer", "minimum": 1, "maximum": 1000},
    "sharedMemory": _named("quantity"),
    "size": _named("quantity"),
    "sizeLimit": _named("quantity"),
    "startupBudgetSeconds": _COUNT,
    "stopGraceSeconds": _SECONDS,
    "target": _named("quantity"),
    "tolerations": _OBJECTS,
    "triton.placement": _one_of("pod", "deployment"),
    "triton.traceEndpoint": {"type": "string", "pattern": "^(https?://[^ ]+)?$"},
    "zones": _SPREAD,
}
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
_QUANTITIES: Schema = {"type": "object", "additionalProperties": _named("quantity")}
_DEFINITIONS: dict[str, Schema] = {
    "quantity": {
        "anyOf": [
            {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"},
            {"type": "number", "minimum": 0},
        ]
    },
    "resources": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"requests": _QUANTITIES, "limits": _QUANTITIES},
    },
    "texts": {"type": "object", "additionalProperties": {"type": "string"}},
    "duration": {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"},
    "countOrShare": {
        "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]{1,3}%$"}]
    },
}
_ONE_GATEWAY = (
    "one gateway, because its directory of collections is embedded: a file of that gateway; the hashers"
    " refuse a second gateway with a directory of its own"
)
"""A schema cannot say why it refuses: this stands where a name that is missing is reported."""


def schema_of(values: Iterable[_Value]) -> Schema:
    """Returns the schema of the values of a values file."""
    root: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_group("Values of the chart."),
    }
    for value in values:
        _parent(root, value.path)["properties"][value.path[-1]] = (
            _group(value.meaning) if value.is_group else _leaf(value)
        )
    # Charts that include this one hand their global values on.
    root["properties"]["global"] = {"type": "object"}
    root["properties"]["gateway"]["allOf"] = [_one_gateway()]
    settings = {f"{service}Settings": settings_schema(service) for service in SERVICES}
    root["$defs"] = _DEFINITIONS | settings
    return root


def settings_schema(service: str) -> Schema:
    """Returns the schema of the settings of a service that are free to be set."""
    declared = SERVICES[service].model_json_schema()["properties"]
    properties = {
        name: {key: part for key, part in field.items() if key not in ("title", "default")}
        for name, field in declared.items()
        if name not in SET_BY_CHART[service]
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _group(meaning: str) -> Schema:
    described = {"description": meaning} if meaning else {}
    return {**described, "type": "object", "additionalProperties": False, "properties": {}}


def _leaf(value: _Value) -> Schema:
    dotted, name = ".".join(value.path), value.path[-1]
    if name == "settings":
        narrower = _named(f"{value.path[0]}Settings")
    else:
        narrower = _NARROWER.get(dotted) or _NARROWER.get(name) or {"type": _TYPES[type(value.default)]}
    return {"description": value.meaning, **narrower}


def _parent(root: Schema, path: tuple[str, ...]) -> Schema:
    for name in path[:-1]:
        root = root["properties"][name]
    return root


def _one_gateway() -> Schema:
    """Refuses replicas, and the bounds that the other autoscalers have."""
    bounds = [{"required": [bound]} for bound in ("minReplicas", "maxReplicas")]
    many = [
        {"properties": {"replicas": {"minimum": 2}}, "required": ["replicas"]},
        {"properties": {"autoscaling": {"anyOf": bounds}}, "required": ["autoscaling"]},
    ]
    return {"if": {"anyOf": many}, "then": {"required": [_ONE_GATEWAY]}}
