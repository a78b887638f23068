"""Makes files that the deployment's tests need out of pinned Go modules: ``make.py FOLDER``.

``crds/``         the CustomResourceDefinitions of prometheus-operator that the chart has objects of
``schemas/``      JSON schemas of Kubernetes' kinds and of these, laid out as kubeconform looks for them
``stages.yaml``   what kwok makes of nodes and pods

The modules are all under the Apache License 2.0; nothing of them is kept in this repository.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

PINNED = Path(__file__).with_name("modules.sum")
KUBERNETES = "k8s.io/kubernetes"
CRDS = ("podmonitors", "prometheusrules", "servicemonitors")
STAGES = (
    "node/fast/node-initialize",
    "node/heartbeat-with-lease/node-heartbeat-with-lease",
    "pod/fast/pod-ready",
    "pod/fast/pod-complete",
    "pod/fast/pod-delete",
)
_GROUPS = "x-kubernetes-group-version-kind"
_ANY = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
# What swagger calls a string and the API server takes as a number too.
_LOOSER = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _INT_OR_STRING,
}

Schema = dict[str, Any]


class Module(NamedTuple):
    """A Go module in one version, with the hash of its files."""

    path: str
    version: str
    sum: str


def pinned() -> list[Module]:
    """Reads which modules are used."""
    return [Module(*line.split()) for line in PINNED.read_text().splitlines()]


def download(module: Module, cache: Path) -> Path:
    """Downloads a module and returns the folder of its files.

    Raises:
        ValueError: Its files are not those that were pinned.
    """
    command = ["go", "mod", "download", "-json", f"{module.path}@{module.version}"]
    environment = {**os.environ, "GOMODCACHE": str(cache)}
    result = subprocess.run(command, cwd=cache, env=environment, stdout=subprocess.PIPE, check=True)
    report = json.loads(result.stdout)
    if report["Sum"] != module.sum:
        raise ValueError(f"{module.path} {module.version} has the hash {report['Sum']}, not {module.sum}")
    return Path(report["Dir"])


def strict(node: Any) -> Any:
    """Returns a schema that refuses unknown fields."""
    if isinstance(node, list):
        return [strict(one) for one in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string") or node.get("format") == "int-or-string":
        return _INT_OR_STRING
    made = {name: strict(value) for name, value in node.items()}
    if "properties" in made and not made.get(_ANY):
        made.setdefault("additionalProperties", False)
    return made


def referenced(node: Any, definitions: Schema, seen: set[str]) -> set[str]:
    """Adds the names of all the definitions that a schema leads to."""
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        referenced(value, definitions, seen)
    name = node.get("$ref", "") if isinstance(node, dict) else ""
    if isinstance(name, str) and name and (name := name.rpartition("/")[2]) not in seen:
        seen.add(name)
        referenced(definitions[name], definitions, seen)
    return seen


def file_name(group: str, version: str, kind: str) -> str:
    """Returns the name by which kubeconform looks for a kind."""
    return "-".join(filter(None, (kind, group.partition(".")[0], version))).lower() + ".json"


def core_schemas(swagger: Path) -> Iterator[tuple[str, Schema]]:
    """Yields file names and schemas of the kinds that Kubernetes itself has."""
    definitions = {**strict(json.loads(swagger.read_text())["definitions"]), **_LOOSER}
    for definition in definitions.values():
        # Several groups share a kind only where it is no object, such as DeleteOptions.
        if len(groups := definition.get(_GROUPS, ())) == 1:
            names = referenced(definition, definitions, set())
            schema = {**definition, "definitions": {name: definitions[name] for name in names}}
            yield file_name(**groups[0]), schema


def custom_schemas(crd: Path) -> Iterator[tuple[str, Schema]]:
    """Yields file names and schemas of the kind that a CustomResourceDefinition declares."""
    spec = yaml.safe_load(crd.read_text())["spec"]
    for version in spec["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        yield file_name(spec["group"], version["name"], spec["names"]["kind"]), schema


def write_schemas(folder: Path, swagger: Path, crds: list[Path]) -> None:
    """Writes the schemas of one version of Kubernetes."""
    folder.mkdir(parents=True)
    for name, schema in core_schemas(swagger):
        (folder / name).write_text(json.dumps(schema))
    for crd in crds:
        for name, schema in custom_schemas(crd):
            (folder / name).write_text(json.dumps(schema))


def write_all(folder: Path, cache: Path) -> None:
    """Writes everything that the module's text names."""
    modules = [(module, download(module, cache)) for module in pinned()]
    files = {module.path: path for module, path in modules}
    source = files["github.com/prometheus-operator/prometheus-operator"] / "example/prometheus-operator-crd"
    (folder / "crds").mkdir(parents=True)
    crds = [folder / "crds" / f"{name}.yaml" for name in CRDS]
    for crd in crds:
        shutil.copyfile(source / f"monitoring.coreos.com_{crd.name}", crd)
    stages = [files["sigs.k8s.io/kwok"] / "kustomize/stage" / f"{name}.yaml" for name in STAGES]
    (folder / "stages.yaml").write_text("---\n".join(stage.read_text() for stage in stages))
    for module, path in modules:
        if module.path == KUBERNETES:
            write_schemas(
                folder / "schemas" / f"{module.version}-standalone-strict",
                path / "api/openapi-spec/swagger.json",
                crds,
            )


def main() -> None:
    """Makes the files in a folder next to their place, and then moves them there all at once."""
    home = Path(sys.argv[1])
    if (home / "stages.yaml").exists():
        return
    print(f"Making the schemas of Kubernetes' objects in {home}, once: half a minute ...", file=sys.stderr)
    work = home / ".work"
    cache = work / "modules"
    clean(work)
    cache.mkdir(parents=True)
    made = work / "made"
    write_all(made, cache)
    for name in ("crds", "schemas", "stages.yaml"):
        shutil.rmtree(home / name, ignore_errors=True)
        (made / name).rename(home / name)
    clean(work)


def clean(work: Path) -> None:
    """Deletes what is no longer needed; Go makes the folders of its modules read-only."""
    for folder, _, _ in os.walk(work):
        os.chmod(folder, 0o755)
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
