"""Writes what the Helm chart is made of elsewhere: ``python -m scripts.chart [--check]``.

``values.schema.json`` and ``README.md`` come from ``values.yaml``, its comments and the services' settings
classes; ``files/rules`` and ``files/dashboards`` are copies, as a chart reads no files outside its folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts import chart_schema

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "deploy" / "helm" / "lookalike"
VALUES = CHART / "values.yaml"
COPIES = {
    "rules": (ROOT / "deploy" / "prometheus", ("rules/*.yaml", "alerts/*.yaml")),
    "dashboards": (ROOT / "deploy" / "grafana", ("dashboards/*.json",)),
}
_HEAD = """# Values of the chart

Written by `make docs-generated` from values.yaml; do not edit. How to install: docs/deployment.md. Whole
installations: [examples](examples).

"""
_TABLE = "| value | default | meaning |\n|---|---|---|\n"
_PIPE = "\\|"
"""A bar in a cell of a table."""


@dataclass(frozen=True)
class Value:
    """One value, or a group of values."""

    path: tuple[str, ...]
    meaning: str
    default: Any
    is_group: bool


def read_values(text: str) -> list[Value]:
    """Returns all values and groups of a values file, in order, with the comments above them.

    A group is a mapping in which something has a comment.
    """
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    return list(_values_of(root, (), text.splitlines()))


def _values_of(mapping: yaml.MappingNode, path: tuple[str, ...], lines: Sequence[str]) -> Iterator[Value]:
    for key, value in mapping.value:
        own = (*path, str(key.value))
        inner = list(_values_of(value, own, lines)) if isinstance(value, yaml.MappingNode) else []
        is_group = any(one.meaning for one in inner)
        yield Value(own, _comment_above(key.start_mark.line, lines), _plain(value), is_group)
        if is_group:
            yield from inner


def _comment_above(number: int, lines: Sequence[str]) -> str:
    found: list[str] = []
    while number > 0 and lines[number - 1].lstrip().startswith("#"):
        number -= 1
        found.insert(0, lines[number].lstrip().removeprefix("#").strip())
    return " ".join(found)


def _plain(node: yaml.Node) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def schema() -> str:
    """Returns ``values.schema.json``."""
    return json.dumps(chart_schema.schema_of(read_values(VALUES.read_text())), indent=2) + "\n"


def readme() -> str:
    """Returns the table of values."""
    values = read_values(VALUES.read_text())
    parts = [_HEAD, _TABLE]
    for value in values:
        is_section = value.is_group and len(value.path) == 1
        if is_section:
            meaning = f"{value.meaning}\n\n" if value.meaning else ""
            parts.append(f"\n## {value.path[0]}\n\n{meaning}{_TABLE}")
        elif not value.is_group:
            cells = (f"`{'.'.join(value.path)}`", f"`{json.dumps(value.default)}`", value.meaning)
            parts.append(f"| {' | '.join(cell.replace('|', _PIPE) for cell in cells)} |\n")
    return "".join(parts)


def files() -> dict[Path, str]:
    """Returns what every written file should hold."""
    wanted = {CHART / "values.schema.json": schema(), CHART / "README.md": readme()}
    for folder, (source, patterns) in COPIES.items():
        for pattern in patterns:
            for file in sorted(source.glob(pattern)):
                name = "-".join(file.relative_to(source).parts)
                wanted[CHART / "files" / folder / name] = file.read_text()
    return wanted


def stale() -> list[Path]:
    """Returns the files that are not what they should be, or should not be there."""
    wanted = files()
    present = {file for folder in COPIES for file in (CHART / "files" / folder).glob("*")}
    changed = [file for file, text in wanted.items() if not file.exists() or file.read_text() != text]
    return [*changed, *sorted(present - wanted.keys())]


def main(arguments: Sequence[str]) -> int:
    """Writes the files; with ``--check`` only says whether they are current."""
    changed = stale()
    if "--check" in arguments:
        for file in changed:
            print(f"{file.relative_to(ROOT)} is not current: run `make docs-generated`", file=sys.stderr)
        return 1 if changed else 0
    wanted = files()
    for file in changed:
        if file in wanted:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(wanted[file])
        else:
            file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
