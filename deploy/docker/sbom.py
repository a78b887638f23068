"""Writes an image's list of parts (SBOM, CycloneDX): ``sbom.py SERVICE PYTHON_SBOM HOME > SBOM``.

The Python packages come from ``cyclonedx-py``, the crates and C libraries inside them from the lists
in the wheels (PEP 770), Debian's packages from what dpkg listed at the start of the build stage, where this
runs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

_DEBIAN = Path("/debian.txt")
"""Written by dpkg-query: name, version and architecture."""


def debian_packages() -> list[dict[str, Any]]:
    """Returns the components of Debian's packages that were there before the build stage's own."""
    found = []
    for name, version, architecture in map(str.split, _DEBIAN.read_text().splitlines()):
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}&distro=debian-12"
        found.append(_component("library", name, version, purl))
    return found


def linked(home: Path) -> list[dict[str, Any]]:
    """Returns the components that wheels say are inside them: Rust crates and C libraries."""
    found = {}
    for file in sorted(home.glob("lib/*/site-packages/*.dist-info/sboms/*.json")):
        for part in json.loads(file.read_text()).get("components", ()):
            purl = part.get("purl", "")
            if purl and not purl.startswith("pkg:pypi/"):
                found[purl] = _component("library", part["name"], part.get("version", ""), purl)
    return list(found.values())


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, Any]:
    return {"bom-ref": purl, "type": kind, "name": name, "version": version, "purl": purl}


def main(service: str, python: str, home: str) -> None:
    """Prints the list, checked against CycloneDX's schema."""
    bom = json.loads(Path(python).read_text())
    components = bom["components"]
    (own,) = (part for part in components if part["name"] == "lookalike")
    components += [*linked(Path(home)), *debian_packages()]
    bom["metadata"]["component"] = {
        "bom-ref": f"lookalike-{service}",
        "type": "container",
        "name": f"lookalike-{service}",
        "version": own["version"],
    }
    content = json.dumps(bom, indent=1, sort_keys=True)
    version = SchemaVersion.from_version(bom["specVersion"])
    if problem := JsonStrictValidator(version).validate_str(content):
        sys.exit(f"error: the list of parts breaks CycloneDX's schema: {problem}")
    print(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
